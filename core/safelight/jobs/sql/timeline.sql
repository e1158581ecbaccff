-- timeline: the runs of this incarnation that did not end the job. $1 tenant_id, $2 job_id, $3 epoch. Index: attempt_pkey.
-- With `get` they tell every durable event: a run is two events, and the first event is the job itself.
select lease_epoch, attempt, claimed_seq, claimed_at, ended_at, reason, progress, error
from attempt
where tenant_id = $1 and job_id = $2 and epoch = $3
order by lease_epoch
