-- drop: days that were taken out of `done` and not dropped yet, the oldest first. Index: none, it reads the catalog.
select name from done_day where not attached order by day
