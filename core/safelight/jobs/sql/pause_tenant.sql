-- pause: nothing more of a tenant begins. $1 tenant_id, $2 owner, $3 reason, $4 seconds or null. Index: pause_tenant. Runs under lock_gate.
-- A pause that is there already is replaced.
insert into pause (tenant_id, owner, reason, seconds, expires_at)
values ($1, $2, $3, $4, now() + make_interval(secs => $4))
on conflict (tenant_id) where tenant_id is not null do update
set owner = excluded.owner, reason = excluded.reason, seconds = excluded.seconds, expires_at = excluded.expires_at, created_at = now()
returning id
