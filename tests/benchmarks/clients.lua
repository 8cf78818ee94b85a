-- For wrk: each request is of another client.
local client = 0
function request()
  client = client % 250 + 1
  return wrk.format("GET", nil, { ["X-Client"] = "10.1.0." .. client })
end
