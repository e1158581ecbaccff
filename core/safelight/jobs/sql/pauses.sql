-- pauses: everything that is paused now, the oldest first.
select p.id, t.name as tenant, p.pipeline, p.owner, p.reason, p.created_at, p.expires_at
from pause p left join tenant t on t.id = p.tenant_id
where p.expires_at is null or p.expires_at > now()
order by p.created_at
