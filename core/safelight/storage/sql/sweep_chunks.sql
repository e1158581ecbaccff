-- sweep_chunks: removes some chunks of a put that was given up; answers how many. $1 tenant_id, $2 put_id, $3 limit.
-- Index: blob_chunk_pkey. Keep: the limit. A chunk is hundreds of rows underneath, and a statement has a timeout.
with picked as materialized (
  select n from blob_chunk where tenant_id = $1 and put_id = $2 order by n limit $3
), gone as (
  delete from blob_chunk c using picked p
  where c.tenant_id = $1 and c.put_id = $2 and c.n = p.n
  returning c.n
)
select count(*) from gone
