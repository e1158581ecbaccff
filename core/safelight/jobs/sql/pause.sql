-- pause: nothing more of a tenant or of a pipeline begins. $1 tenant_id or null, $2 pipeline or null, $3 owner, $4 reason,
-- $5 seconds or null. Runs under lock_gate. A pause that is there already is replaced.
with former as (
  delete from pause where tenant_id = $1 or pipeline = $2
)
insert into pause (tenant_id, pipeline, owner, reason, seconds, expires_at)
values ($1, $2, $3, $4, $5, now() + make_interval(secs => $5))
returning id
