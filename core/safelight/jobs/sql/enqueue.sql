-- enqueue: accepts jobs; answers for each the job that it is now (its own, or one of the same content), whether it is new, refused (its queue is full) or gated, the rank at the head of its lane, and whether its id is that of a job that is forgotten: then nothing was accepted.
-- $1 tenant_id[], $2 id[], $3 params[], $4 inputs[], $5 fingerprint[], $6 idempotency_key[], $7 content[], $8 batch_id[],
-- $9 weight[], $10 max_attempts[], $11 traceparent[], $12 lane[], $13 flow[], $14 place in the flow[]; $15 pipeline[],
-- $16 priority[], $17 low[] of the lanes; $18 tenant_id[], $19 lane[] of the flows; $20 whether its client chose the id[]; $21 for how many
-- seconds a result is used again, or null. No two of the jobs share an id, an idempotency key or a content.
-- What it does, and what must not change: db/migrations/0003_enqueue.sql. In it: ready_rank, ready_flow. And `bury` in
-- 0006_retention.sql, which runs when all of the jobs are there.
select id, created and not expired as created, refused, gated, head, expired
from (
  select *, case when created and named then bury(tenant_id, asked_id) else false end as expired
  from rows from (
    enqueue($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $21),
    unnest($1::integer[], $2::uuid[], $20::boolean[])
  ) as e (id, created, refused, gated, head, tenant_id, asked_id, named)
) e
