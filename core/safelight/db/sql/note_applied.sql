-- Notes a migration as applied. $1: its number, $2: its name.
insert into schema_migration (number, name) values ($1, $2)
