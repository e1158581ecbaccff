-- pipelines: everything that is offered, by name. Index: pipeline_pkey.
select name, declaration from pipeline order by name
