"""Postgres: connections, migrations, and the loader of SQL files. Who asks what stands in the rooms above."""
