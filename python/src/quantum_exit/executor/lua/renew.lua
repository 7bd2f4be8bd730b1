-- A stream whose last id has been given takes no entry any more, for ever: it is begun anew, with
-- what is not acknowledged in it and all its groups.
--
-- KEYS[1] the stream   KEYS[2] where the old one is kept   KEYS[3] where the new one is made: the
-- executor may put no plan into the stream itself
-- ARGV[1] the group that counts: what it has acknowledged is not carried over
-- Returns how many entries were carried over; -1 when the stream is well.
local TOO_LATE = 2 ^ 62 -- milliseconds: no clock gets there, and none of our own ids is near it

local function field(list, name)
  for i = 1, #list, 2 do if list[i] == name then return list[i + 1] end end
end

if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local last = field(redis.call('XINFO', 'STREAM', KEYS[1]), 'last-generated-id')
if tonumber(string.match(last, '^%d+')) < TOO_LATE then return -1 end

local groups, since, unanswered = {}, nil, {}
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local name = field(group, 'name')
  groups[#groups + 1] = name
  if name == ARGV[1] then
    since = field(group, 'last-delivered-id')
    local pending = field(group, 'pending')
    if pending > 0 then
      for _, one in ipairs(redis.call('XPENDING', KEYS[1], name, '-', '+', pending)) do
        unanswered[#unanswered + 1] = redis.call('XRANGE', KEYS[1], one[1], one[1])[1]
      end
    end
  end
end
if not since then groups[#groups + 1] = ARGV[1] end
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], since or '-', '+')) do
  if entry[1] ~= since then unanswered[#unanswered + 1] = entry end
end

redis.call('DEL', KEYS[3])
local carried = 0
for _, entry in ipairs(unanswered) do
  redis.call('XADD', KEYS[3], '*', unpack(entry[2]))
  carried = carried + 1
end
for _, name in ipairs(groups) do redis.call('XGROUP', 'CREATE', KEYS[3], name, '0', 'MKSTREAM') end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('RENAME', KEYS[3], KEYS[1])
return carried
