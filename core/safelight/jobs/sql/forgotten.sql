-- forgotten: what is remembered of a job that was pruned. $1 tenant_id, $2 id. Index: forgotten_pkey.
select reason, forgotten_at from forgotten where tenant_id = $1 and id = $2
order by forgotten_at desc
limit 1
