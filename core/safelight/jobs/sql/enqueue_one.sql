-- enqueue_new of one job: its columns are no arrays, which are dear to send where there is only one of each.
-- $1 id, $2 params, $3 inputs, $4 fingerprint, $5 idempotency_key, $6 content, $7 batch_id, $8 weight, $9 max_attempts,
-- $10 traceparent, $11 tenant_id, $12 pipeline, $13 priority, $14 low, $15 for how many seconds a result is used again.
-- What it does, and what must not change: db/migrations/0003_enqueue.sql. In it: ready_rank, ready_flow.
select id, created, refused, gated, head, false as expired
from enqueue(array[$1::uuid], array[$2::text], array[$3::text], array[$4::bytea], array[$5::text], array[$6::bytea],
             array[$7::uuid], array[$8::real], array[$9::smallint], array[$10::text], array[1], array[0],
             array[$11::integer], array[$12::text], array[$13::smallint], array[$14::bigint], $15, true)
