-- list: keys, newest last. $1 tenant's name or null. Index: none, there are few.
select k.*, t.name as tenant_name, t.max_priority
from api_key k join tenant t on t.id = k.tenant_id
where $1::text is null or t.name = $1
order by k.created_at
