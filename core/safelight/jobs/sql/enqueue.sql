-- enqueue: accepts jobs; answers for each the job that it is now (its own, or one of the same content), whether it is new, refused (its queue is full) or gated, the rank at the head of its lane, and whether its id is that of a job that is forgotten: then nothing was accepted.
-- $1 id[], $2 params[], $3 inputs[], $4 fingerprint[], $5 idempotency_key[], $6 content[], $7 batch_id[], $8 weight[],
-- $9 max_attempts[], $10 traceparent[], $11 flow[], $12 place in the flow[]; $13 tenant_id[], $14 pipeline[],
-- $15 priority[], $16 low[] of the flows; $17 for how many seconds a result is used again, or null; $18 whether
-- its client chose the id[]. No two of the jobs share an id, an idempotency key or a content.
-- What it does, and what must not change: db/migrations/0003_enqueue.sql. In it: ready_rank, ready_flow. And `bury` in
-- 0006_retention.sql, which runs when all of the jobs are there.
select id, created and not expired as created, refused, gated, head, expired
from (
  select *, case when created and named then bury(($13::integer[])[flow], asked_id) else false end as expired
  from rows from (
    enqueue($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, false),
    unnest($1::uuid[], $11::integer[], $18::boolean[])
  ) as e (id, created, refused, gated, head, asked_id, flow, named)
) e
