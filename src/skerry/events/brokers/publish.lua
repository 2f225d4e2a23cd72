-- Append a batch to a log. KEYS: the stream, its epoch. ARGV: the number of the last entry we know ('' for unknown), a fresh
-- epoch, how many entries to keep about ('' for all), then for each message what it is (id, type and key) and its body.
-- Answers {1, last} when all is there, {0, last} when somebody else has written meanwhile.
local last, n = 0, (#ARGV - 3) / 2
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('SET', KEYS[2], ARGV[2])
else
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      last = tonumber(string.match(info[i + 1], '^(%d+)'))
      if tonumber(string.match(info[i + 1], '-(%d+)$')) > 0 then last = last + 1 end
    end
  end
end
local known = {}
if ARGV[1] == '' then
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', n + 100)) do
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'of' then known[entry[2][i + 1]] = true end
    end
  end
elseif tonumber(ARGV[1]) ~= last then
  return {0, last}
end
for at = 4, #ARGV, 2 do
  if not known[ARGV[at]] then
    last = last + 1
    local id = string.format('%.0f-0', last)
    local fields = {'of', ARGV[at], 'body', ARGV[at + 1]}
    if ARGV[3] == '' then
      redis.call('XADD', KEYS[1], id, unpack(fields))
    else
      redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], id, unpack(fields))
    end
  end
end
return {1, last}
