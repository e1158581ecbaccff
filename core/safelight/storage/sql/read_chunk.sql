-- read_chunk: a part of a chunk. $1 tenant_id, $2 put_id, $3 n, $4 offset from 0, $5 length. Index: blob_chunk_pkey.
-- One short query a chunk: a reader that is slow holds neither a cursor nor a connection.
select substring(data from $4::integer + 1 for $5::integer) from blob_chunk
where tenant_id = $1 and put_id = $2 and n = $3
