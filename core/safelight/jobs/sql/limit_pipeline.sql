-- limit: what a pipeline may have. $1 name, $2 max_running or null, $3 max_queued or null. Index: pipeline_pkey.
-- Runs under lock_gate.
update pipeline set max_running = $2, max_queued = $3 where name = $1
returning name
