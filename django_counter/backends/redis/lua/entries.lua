-- Read counters with their time left.
-- KEYS: the counters.
-- Returns: for each its string, nil when missing or of another type, and its PTTL.
local entries = {}
for i, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  entries[2 * i - 1] = type(value) == 'string' and value
  entries[2 * i] = redis.call('PTTL', key)
end
return entries
