-- One migration at a time. $1: the lock's number. Released with the transaction.
select pg_advisory_xact_lock($1)
