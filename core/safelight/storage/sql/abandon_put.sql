-- abandon_put: a put is given up; no chunk is added and it is not finished after this. $1 tenant_id, $2 put_id.
-- Index: blob_loose_pkey.
-- Keep: it waits for a chunk or a finish that is on its way (their connection may be lost, and they still commit),
-- so that what follows sees everything there will ever be.
update blob_loose set abandoned = true where tenant_id = $1 and put_id = $2
