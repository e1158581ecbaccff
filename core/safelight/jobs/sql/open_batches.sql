-- open: a page of the batches that have not ended, of which no job is left to run, the oldest first. $1 at most so many,
-- $2 created_at and $3 id of the last one of the page before, or null. Index: batch_open, ready_batch.
-- Some of them wait for jobs that were not submitted yet, or never will be.
select b.tenant_id, b.id, b.created_at from batch b
where b.ended_at is null and not exists (select from ready r where r.tenant_id = b.tenant_id and r.batch_id = b.id)
  and ($2::timestamptz is null or (b.created_at, b.id) > ($2, $3::uuid))
order by b.created_at, b.id
limit $1
