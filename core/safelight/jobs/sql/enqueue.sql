-- enqueue: accepts jobs; answers for each whether it is new, refused (its queue is full) or gated, and the rank at the head of its lane.
-- $1 tenant_id[], $2 id[], $3 params[], $4 inputs[], $5 fingerprint[], $6 idempotency_key[], $7 max_attempts[],
-- $8 traceparent[], $9 lane[], $10 flow[], $11 place in the flow[]; $12 pipeline[], $13 priority[], $14 low[] of the lanes;
-- $15 tenant_id[], $16 lane[] of the flows. No two of the jobs share an id or an idempotency key.
-- What it does, and what must not change: db/migrations/0003_enqueue.sql. In it: ready_rank, ready_flow.
select * from enqueue($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
