-- revoke: a key stops working. $1 public id. Index: api_key_id.
update api_key set revoked_at = coalesce(revoked_at, now()) where id = $1 returning id
