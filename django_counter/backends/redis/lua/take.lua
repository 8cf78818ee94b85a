-- Draw a cost from all the counters or from none.
-- KEYS: the counters. ARGV: the cost; then for each counter what a missing one starts with ('' to
-- leave it missing), its ttl in milliseconds ('' for none), and the least value to draw from.
-- Returns: 1 or 0 for drawn or not; then each value after that, as a string, '' when missing.
local function reaches(value, least) -- exact: tonumber() would round above 2^53
  if value:sub(1, 1) == '-' then return false end
  return #value > #least or (#value == #least and value >= least)
end
local drawn, values = 1, {}
for i, key in ipairs(KEYS) do
  values[i] = redis.call('GET', key)
  if values[i] then redis.call('INCRBY', key, 0) end -- refuses what is no counter, before any change
  if not reaches(values[i] or ARGV[3 * i - 1], ARGV[3 * i + 1]) then drawn = 0 end
end
for i, key in ipairs(KEYS) do
  local start, ttl = ARGV[3 * i - 1], ARGV[3 * i] == '' and {} or {'PX', ARGV[3 * i]}
  if not values[i] and start ~= '' then redis.call('SET', key, start, unpack(ttl)) end
  if drawn == 1 then redis.call('DECRBY', key, ARGV[1]) end
  values[i] = drawn == 1 and redis.call('GET', key) or values[i] or start
end
table.insert(values, 1, drawn)
return values
