-- horizon: what holds back vacuum in this database, the oldest of all: a session, a prepared transaction or a replication
-- slot. Index: none, it reads what the server has in memory. One row in any case; kind is null when nothing does.
-- Ages are in transactions, which everybody may see of everybody; for how long a session of another user has been open
-- is hidden from an ordinary one (seconds is null then). Processes of the server itself, as autovacuum, do not count.
select now() as at, pg_snapshot_xmax(pg_current_snapshot())::text::bigint as next_transaction,
       pg_stat_get_dead_tuples('ready'::regclass) as dead_tuples, kind, who, coalesce(transactions, 0) as transactions, seconds
from (values (1)) one_row
left join lateral (
  select 'session' as kind, pid || ' ' || usename as who, greatest(age(backend_xmin), age(backend_xid)) as transactions,
         extract(epoch from now() - case when state = 'active' and backend_xid is null then query_start else xact_start end)::float8
           as seconds
  from pg_stat_activity
  where usename is not null and pid <> pg_backend_pid() and num_nonnulls(backend_xmin, backend_xid) > 0
    and (datname = current_database() or datname is null)
  union all
  select 'prepared transaction', gid, age(transaction), extract(epoch from now() - prepared)::float8
  from pg_prepared_xacts
  where database = current_database()
  union all
  select 'replication slot', slot_name, age(xmin), null
  from pg_replication_slots
  where xmin is not null
  order by transactions desc, seconds desc nulls last
  limit 1
) oldest on true
