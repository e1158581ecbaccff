-- reopen, last part: the batch of a reopened job has not ended any more. $1 tenant_id, $2 batch_id. Index: batch_pkey.
update batch set ended_at = null, round = round + 1 where tenant_id = $1 and id = $2 and ended_at is not null
