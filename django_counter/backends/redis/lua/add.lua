-- Add to a counter.
-- KEYS: the counter. ARGV: the amount.
-- Returns: the sum, as a string: a Lua number is a double.
redis.call('INCRBY', KEYS[1], ARGV[1])
return redis.call('GET', KEYS[1])
