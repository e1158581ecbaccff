-- The newest migration that was applied. Index: schema_migration_pkey.
select max(number) from schema_migration
