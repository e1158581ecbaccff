-- enqueue: accepts jobs. One row each in job and ready, or none when the id or the idempotency key is known.
-- $1 tenant_id[], $2 id[], $3 pipeline[], $4 params[], $5 inputs[], $6 fingerprint[], $7 idempotency_key[],
-- $8 max_attempts[], $9 traceparent[].
-- Answers (id, created) for each. The unique keys job_pkey and job_idempotency_key decide what is a repeat.
-- Keep: the two inserts in one statement; an accepted job without a place in the queue would be lost.
with asked as (
  select * from unnest($1::integer[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[],
                       $8::smallint[], $9::text[])
    as t (tenant_id, id, pipeline, params, inputs, fingerprint, idempotency_key, max_attempts, traceparent)
), accepted as (
  insert into job (tenant_id, id, pipeline, params, inputs, fingerprint, idempotency_key, max_attempts, traceparent)
  select tenant_id, id, pipeline, params::jsonb, inputs::jsonb, fingerprint, idempotency_key, max_attempts, traceparent
  from asked
  on conflict do nothing
  returning tenant_id, id, pipeline, max_attempts
), placed as (
  insert into ready (tenant_id, job_id, pipeline, max_attempts, epoch, seq, state, reason)
  select tenant_id, id, pipeline, max_attempts, 1, 1, 'queued', 'submitted' from accepted
)
select asked.id, accepted.id is not null as created
from asked left join accepted using (tenant_id, id)
