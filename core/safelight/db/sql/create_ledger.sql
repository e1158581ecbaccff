-- The ledger of what was applied. Runs before every migration, so the first one finds it too.
create table if not exists schema_migration (
  number integer primary key,
  name text not null,
  needs integer not null,                 -- the newest migration that code has to know to run after this one
  applied_at timestamptz not null default now()
)
