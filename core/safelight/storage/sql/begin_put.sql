-- begin_put: a put begins; nothing of it can be read. $1 tenant_id, $2 put_id. Index: none, it only inserts.
-- Keep: it comes before the first chunk. A chunk without this row would never be pruned.
insert into blob_loose (tenant_id, put_id) values ($1, $2)
