-- migrate: answers the statements that give this role its time limits in this database, as far as they differ from what
-- it has. $1 seconds for one statement: what the process itself waits, so the server gives up a little earlier, and says so.
-- A role's own settings, as nothing can be set per session behind a pooler; and this database's only. Any role may do
-- that for itself. The join leaves out what an older server does not know (transaction_timeout came with 17).
with wanted (name, share) as (
  values ('statement_timeout', 0.9), ('lock_timeout', 0.5), ('idle_in_transaction_session_timeout', 1.0), ('transaction_timeout', 3.0)
), now_set as (
  select unnest(setconfig) as text from pg_db_role_setting
  where setrole = (select oid from pg_roles where rolname = current_user)
    and setdatabase = (select oid from pg_database where datname = current_database())
)
select format('alter role %I in database %I set %I = %L', current_user, current_database(), name, ms)
from (select name, round(share * $1::float8 * 1000)::bigint as ms from wanted join pg_settings using (name)) w
where name || '=' || ms not in (select text from now_set)
