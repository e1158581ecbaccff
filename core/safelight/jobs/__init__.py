"""The queue: the truth about every job, in Postgres.

    job      the values that go in and come out
    states   the state machine, as data (pure)
    retry    how long to wait before the next attempt (pure)
    queue    one method a verb, each on its own file in sql/

Called by the API (enqueue, get, cancel, ...) and the processor (claim, heartbeat, complete, ...).
Progress over Redis is another room; only a role joins the two.
"""
