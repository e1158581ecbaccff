-- debris: these bytes are gone. $1 id[]. Index: debris_pkey. Keep: it comes after the bytes; the row is what leads to them.
delete from debris where id = any ($1::bigint[])
