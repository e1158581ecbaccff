-- leave: a processor says that it is going. $1 id. Index: worker_pkey.
delete from worker where id = $1
