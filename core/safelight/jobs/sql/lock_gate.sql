-- limit, pause: waits for the enqueues that are under way, and makes those to come wait. $1 what kind of gate (5381924 a
-- tenant, 5381925 a pipeline), $2 which. Released with the transaction. Keep: first in it, or an enqueue that saw no gate
-- could commit after its jobs were held.
select pg_advisory_xact_lock($1, $2)
