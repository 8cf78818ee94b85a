-- Move all the timers on, or none of them.
-- KEYS: the timers. ARGV: for each where a missing one starts, how far to move it, its ceiling, its
-- ttl in milliseconds ('' for none). Numbers up to 2^53, where those of Lua are exact.
-- Returns: 1 or 0 for moved or not; then where each is now, as a string.
local moved, values = 1, {}
for i, key in ipairs(KEYS) do
  local stored, start = redis.call('GET', key), ARGV[4 * i - 3]
  if stored then redis.call('INCRBY', key, 0) end -- refuses what is no counter, before any change
  values[i] = stored and tonumber(stored) > tonumber(start) and stored or start
  if tonumber(values[i]) + tonumber(ARGV[4 * i - 2]) > tonumber(ARGV[4 * i - 1]) then moved = 0 end
end
for i, key in ipairs(moved == 1 and KEYS or {}) do
  values[i] = string.format('%.0f', tonumber(values[i]) + tonumber(ARGV[4 * i - 2]))
  redis.call('SET', key, values[i], unpack(ARGV[4 * i] == '' and {} or {'PX', ARGV[4 * i]}))
end
table.insert(values, 1, moved)
return values
