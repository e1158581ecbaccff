-- remember: the answer to a poll, for those who ask the same in the next moment. Refused when something newer is
-- known: it was read before that came in, and must not be told after it.
-- KEYS[1] top  KEYS[2] body
-- ARGV[1] epoch  ARGV[2] seq  ARGV[3] n  ARGV[4] answer  ARGV[5] milliseconds to keep  ARGV[6] seconds to keep the top
local known = redis.call('HMGET', KEYS[1], 'e', 's', 'n')
for i = 1, 3 do
  local have, comes = tonumber(known[i] or -1), tonumber(ARGV[i])
  if comes > have then
    redis.call('HSET', KEYS[1], 'e', ARGV[1], 's', ARGV[2], 'n', ARGV[3])
    redis.call('EXPIRE', KEYS[1], ARGV[6])
    break
  end
  if comes < have then return 0 end
end
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
return 1
