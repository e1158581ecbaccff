-- Notes a migration as applied. $1: its number, $2: its name, $3: what code has to know to run after it.
insert into schema_migration (number, name, needs) values ($1, $2, $3)
