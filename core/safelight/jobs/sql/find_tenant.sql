-- limit, pause: the id of a tenant. $1 name. Index: tenant_name_key.
select id from tenant where name = $1
