-- Give a cost back to the budgets that exist.
-- KEYS: the budgets. ARGV: the cost; then for each its limit, and the most it may hold for the whole
-- cost to go back.
-- Returns: nothing.
local function within(value, most) -- exact: tonumber() would round above 2^53
  if value:sub(1, 1) == '-' then return true end
  return #value < #most or (#value == #most and value <= most)
end
local values = {}
for i, key in ipairs(KEYS) do
  values[i] = redis.call('GET', key)
  if values[i] then redis.call('INCRBY', key, 0) end -- refuses what is no counter, before any change
end
for i, key in ipairs(KEYS) do
  if values[i] and within(values[i], ARGV[2 * i + 1]) then
    redis.call('INCRBY', key, ARGV[1])
  elseif values[i] and within(values[i], ARGV[2 * i]) then
    redis.call('SET', key, ARGV[2 * i], 'KEEPTTL')
  end
end
