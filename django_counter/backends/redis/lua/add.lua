-- Add to a counter.
-- KEYS: the counter. ARGV: the amount.
-- Returns: the sum, as a string where a Lua number, a double, may not hold it.
local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
if sum > -1e14 and sum < 1e14 then return sum end
return redis.call('GET', KEYS[1])
