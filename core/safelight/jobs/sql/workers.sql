-- workers: the processors that were seen lately. $1 seconds. Index: none, there are few.
select id, slots, pipelines, paces from worker where seen_at > now() - make_interval(secs => $1)
