-- What tokens are signed with, the newest last. Index: signing_key_pkey.
select secret from signing_key order by id
