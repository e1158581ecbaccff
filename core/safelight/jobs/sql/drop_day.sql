-- drop, last part: a day that was taken out, and of which nothing is needed. $1 name. Answers whether it was dropped.
select drop_day($1)
