-- find_blob: what a key names. $1 tenant_id, $2 key. Index: blob_pkey.
select put_id, bytes, chunk_bytes from blob where tenant_id = $1 and key = $2
