-- create: a key for a tenant, who is made when unknown. Index: tenant_name_key.
-- $1 tenant's name, $2 public id, $3 hash, $4 name, $5 scopes[], $6 days until it ends or null.
with owner as (
  insert into tenant (name) values ($1) on conflict (name) do update set name = excluded.name
  returning id
)
insert into api_key (tenant_id, id, hash, name, scopes, expires_at)
select id, $2, $3, $4, $5::text[], now() + make_interval(secs => $6::float8 * 86400) from owner
returning id
