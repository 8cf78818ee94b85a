-- Draw a cost from one counter that has it, as most are drawn, or leave one that is at 0.
-- All else is left to take.lua, which stands below this.
-- KEYS: the counters. ARGV: those of take.lua.
-- Returns: what is left, as a number, or '0' where nothing was drawn.
if not KEYS[2] then
  local stored = redis.call('GET', KEYS[1])
  local value = tonumber(stored)
  -- A number keeps 14 digits on all its ways. DECRBY refuses what only Lua takes for one.
  if value and value >= tonumber(ARGV[4]) and value < 1e14 then
    return redis.call('DECRBY', KEYS[1], ARGV[1])
  end
  if stored == '0' then return stored end
end
