-- reopen, third part: whether no incarnation that ended is as new. $1 tenant_id, $2 job_id, $3 epoch. Index: done_pkey.
-- Keep: a statement of its own, after the insert. The insert may have read `done` just before another reopened
-- incarnation ended; from the insert on, nobody else can begin or end one.
select not exists (select from done where tenant_id = $1 and job_id = $2 and epoch >= $3)
