-- open: batches that have not ended, of which no job is left to run, the oldest first. $1 at most so many.
-- Index: batch_open, ready_batch. Some of them wait for jobs that were not submitted yet.
select b.tenant_id, b.id from batch b
where b.ended_at is null and not exists (select from ready r where r.tenant_id = b.tenant_id and r.batch_id = b.id)
order by b.created_at
limit $1
