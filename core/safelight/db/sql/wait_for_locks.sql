-- migrate: how long a lock is waited for, in this transaction. $1 milliseconds, as text.
select set_config('lock_timeout', $1, true)
