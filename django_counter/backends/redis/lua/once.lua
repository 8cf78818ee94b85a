-- Run a script, which stands above this one as `apply`, once for each token.
-- KEYS: those of that script; then the token. ARGV: those of that script; then a digest of the
-- call, for how many milliseconds the token is kept, 1 or 0 for keeping refusals or not, and 1 or 0
-- for writing on a repeat, too, so that a WAIT behind it waits for what the first call has written.
-- Returns: what that script does, and once more what it did where the token is of the same call.
local rewrite, refusals = table.remove(ARGV), table.remove(ARGV)
local window, call = table.remove(ARGV), table.remove(ARGV)
local token = table.remove(KEYS)
local kept, answer = redis.call('GET', token), {}
if not kept then
  redis.call('SET', token, '', 'PX', window, 'XX') -- refused here, not once the call was applied
  answer = apply()
  local text = type(answer) == 'table' and table.concat(answer, ' ') or tostring(answer)
  if refusals == '1' or text:sub(1, 2) ~= '0 ' then -- lists begin with 1 or 0 for done or not
    redis.call('SET', token, call .. text .. ' ', 'PX', window)
  end
  return answer
end
if kept:sub(1, #call) ~= call then return redis.error_reply('IDEMPOTENCY of another call') end
if rewrite == '1' then redis.call('SET', token, kept, 'KEEPTTL') end
for word in kept:sub(#call + 1):gmatch('([^ ]*) ') do table.insert(answer, word) end
if #answer == 1 then return answer[1] end
answer[1] = tonumber(answer[1])
return answer
