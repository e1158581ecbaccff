-- sweep: a turn, for the first who asks so many seconds after the last one. $1 seconds. Index: none, it is one row.
-- Answers the key after which to go on, or nothing when it is nobody's turn.
update sweep set taken_at = now()
where taken_at < now() - make_interval(secs => $1)
returning tenant_id, key
