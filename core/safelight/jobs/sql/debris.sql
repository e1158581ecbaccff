-- debris: bytes of forgotten jobs that should be gone by now: who was to remove them died, or could not.
-- $1 age in seconds, $2 limit. Index: debris_pkey. Anybody may remove them, twice too.
select id, tenant_id, keys from debris
where since < now() - make_interval(secs => $1)
order by id
limit $2
