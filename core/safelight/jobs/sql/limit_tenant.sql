-- limit: what a tenant may have. $1 tenant_id, $2 weight, $3 max_priority, $4 max_running or null, $5 max_queued or null.
-- Index: tenant_pkey. Runs under lock_gate.
update tenant set weight = $2, max_priority = $3, max_running = $4, max_queued = $5 where id = $1
returning id
