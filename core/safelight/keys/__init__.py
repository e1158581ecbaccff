"""Who may come in: API keys of tenants (kept as hashes in Postgres) and signed tokens for one job.

keys     create, find, revoke; shown once, found by their public part
tokens   sign and check what opens one job or one file (pure)
"""
