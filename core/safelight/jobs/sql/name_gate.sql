-- limit, pause: the number of a pipeline's gate, as enqueue has it. $1 pipeline.
select hashtext($1)
