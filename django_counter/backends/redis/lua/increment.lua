-- Add to a counter; its ttl starts only when this call creates it.
-- KEYS: the counter. ARGV: the amount, the ttl in milliseconds.
-- Returns: the sum, as a string: a Lua number is a double.
if redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') then
  return ARGV[1]
end
redis.call('INCRBY', KEYS[1], ARGV[1])
return redis.call('GET', KEYS[1])
