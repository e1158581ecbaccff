-- resume: ends a pause. $1 tenant_id or null, $2 pipeline or null. Answers what was ended.
delete from pause where tenant_id = $1 or pipeline = $2
returning id
