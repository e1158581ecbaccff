-- find: a valid key by its public id. $1 public id. Index: api_key_id.
select k.*, t.name as tenant_name, t.max_priority
from api_key k join tenant t on t.id = k.tenant_id
where k.id = $1 and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
