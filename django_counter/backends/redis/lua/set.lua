-- Store a counter in place of what it was, or only where it equals a value.
-- KEYS: the counter. ARGV: the value, the ttl in milliseconds ('' for none), the value that must
-- be stored ('' for any).
-- Returns: 1 or 0 for stored or not.
local stored = redis.call('GET', KEYS[1])
if stored then redis.call('INCRBY', KEYS[1], 0) end -- refuses what is no counter
if ARGV[3] ~= '' and stored ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], unpack(ARGV[2] == '' and {} or {'PX', ARGV[2]}))
return 1
