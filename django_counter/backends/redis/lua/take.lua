-- Draw a cost from all the counters or from none.
-- KEYS: the counters. ARGV: the cost; then for each counter what a missing one starts with ('' to
-- leave it missing), its ttl in milliseconds ('' for none), and the lowest value to draw from.
-- Returns: 1 or 0 for drawn or not; then each value after that, '' when missing.
local values = {1} -- not to be unpacked: they may be thousands
for i = 1, #KEYS do
  local value, low = redis.call('GET', KEYS[i]), ARGV[3 * i + 1]
  if value and value ~= '0' and (#value > 18 or not value:find('^[1-9]%d*$')) then
    redis.call('INCRBY', KEYS[i], 0) -- refuses what is no counter, before any change
  end
  values[i + 1], value = value, value or ARGV[3 * i - 1] -- compared as texts: exact in all digits
  if #value < #low or #value == #low and value < low or value:byte() == 45 then values[1] = 0 end
end
for i = 1, #KEYS do
  if not values[i + 1] then
    local start, ttl = ARGV[3 * i - 1], ARGV[3 * i] == '' and {} or {'PX', ARGV[3 * i]}
    if start ~= '' then redis.call('SET', KEYS[i], start, unpack(ttl)) end
    values[i + 1] = start
  end
  local left = values[1] == 1 and redis.call('DECRBY', KEYS[i], ARGV[1])
  -- A number keeps 14 digits on all its ways.
  if left then values[i + 1] = #values[i + 1] < 15 and left or redis.call('GET', KEYS[i]) end
end
return values
