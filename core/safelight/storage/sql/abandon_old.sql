-- abandon_old: gives up puts that began long ago, or were given up and not swept; answers them.
-- $1 age in seconds, $2 limit. Index: blob_loose_since.
-- Keep: `skip locked`. A put that is being written is not old, whatever its age.
with old as materialized (
  select tenant_id, put_id from blob_loose
  where since < now() - make_interval(secs => $1)
  order by since
  limit $2
  for update skip locked
)
update blob_loose l set abandoned = true
from old o
where l.tenant_id = o.tenant_id and l.put_id = o.put_id
returning l.tenant_id, l.put_id
