-- prune: the time before which an end is old. $1 retention in seconds. The clock is the one that gave ends their time.
select now() - make_interval(secs => $1)
