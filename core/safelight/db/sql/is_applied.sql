-- Whether a migration was applied. $1: its number. Index: schema_migration_pkey.
select exists (select from schema_migration where number = $1)
