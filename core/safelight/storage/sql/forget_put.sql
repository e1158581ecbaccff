-- forget_put: a put whose chunks are all gone. $1 tenant_id, $2 put_id. Index: blob_loose_pkey.
-- Keep: it comes after the last chunk; the row is what leads to them.
delete from blob_loose where tenant_id = $1 and put_id = $2 and abandoned
