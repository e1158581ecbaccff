-- enqueue of jobs none of which is a repeat, most likely: answers whether each flow is gated, and the rank at the head of
-- its lane. Where that was wrong it is a unique_violation, or it answers as `enqueue` does, with an id in every row.
-- Parameters: the first seventeen of `enqueue`. No client has chosen one of the ids.
-- What it does, and what must not change: db/migrations/0003_enqueue.sql. In it: ready_rank, ready_flow.
select id, created, refused, gated, head, false as expired
from enqueue($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, true)
