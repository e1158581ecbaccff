"""News out: how a watcher learns what happens to a job, on any pod, whatever was lost on the way.

hub       who watches which job in this process; hands news to them; looks for what was lost
mailbox   what one watcher has not been told yet: bounded, progress coalesced
resume    what a watcher must be told, given how far it has come (pure)
session   one socket: what to send, given what comes (sans-I/O)
"""
