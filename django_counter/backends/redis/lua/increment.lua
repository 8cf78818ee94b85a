-- Add to a counter; its ttl starts only when this call creates it.
-- KEYS: the counter. ARGV: the amount, the ttl in milliseconds.
-- Returns: the sum, as a string where a Lua number, a double, may not hold it.
if redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') then
  return ARGV[1]
end
local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
if sum > -1e14 and sum < 1e14 then return sum end
return redis.call('GET', KEYS[1])
