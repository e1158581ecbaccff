"""`safelight`, the command line: runs the service on one machine, and talks to one anywhere."""
