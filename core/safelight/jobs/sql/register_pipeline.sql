-- register: a processor says what it offers. $1 name, $2 version, $3 declaration. Index: pipeline_pkey.
insert into pipeline (name, version, declaration) values ($1, $2, $3::text::json)
on conflict (name) do update set version = excluded.version, declaration = excluded.declaration, registered_at = now()
