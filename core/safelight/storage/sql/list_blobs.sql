-- list_blobs: a page of everything that can be read, by tenant and key. $1 tenant_id and $2 key after which to go on, $3 limit.
-- Index: blob_pkey. Age by the clock that the blobs were dated with.
select tenant_id, key, bytes, extract(epoch from now() - created_at)::float8 as age
from blob
where (tenant_id, key) > ($1, $2)
order by tenant_id, key
limit $3
