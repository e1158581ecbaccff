-- connect: one row when the session that answers is the one that the connection was told of. $1 its process id.
-- Keep: no name and no parameter is needed for it, as behind a pooler both would be left in a session of somebody else.
select where pg_backend_pid() = $1
