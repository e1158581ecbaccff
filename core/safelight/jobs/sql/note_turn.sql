-- sweep: how far a turn has come. $1 tenant_id, $2 key. Index: none, it is one row.
update sweep set tenant_id = $1, key = $2
