-- The newest migration that was applied, and the newest that code has to know. Index: none, it has a handful of rows.
select max(number) as number, max(needs) as needs from schema_migration
