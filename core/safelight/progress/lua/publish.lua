-- publish: news of a job. Refused when something newer is known, so a run that lost its lease cannot turn time back.
-- KEYS[1] top  KEYS[2] body
-- ARGV[1] epoch  ARGV[2] seq  ARGV[3] n  ARGV[4] progress frame or ""  ARGV[5] channel  ARGV[6] message  ARGV[7] seconds to keep
-- Answers 1 when it was news.
local known = redis.call('HMGET', KEYS[1], 'e', 's', 'n')
for i = 1, 3 do
  local have, comes = tonumber(known[i] or -1), tonumber(ARGV[i])
  if comes > have then break end
  if comes < have or i == 3 then return 0 end
end
redis.call('HSET', KEYS[1], 'e', ARGV[1], 's', ARGV[2], 'n', ARGV[3], 'f', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[7])
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1
