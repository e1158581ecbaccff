-- make: for how many seconds to come there are days of `done`. Index: none, it reads the catalog.
select coalesce(extract(epoch from max(day) + 1 - now() at time zone 'UTC'), 0)::float8 from done_day where attached
