-- The ends of plans without an order, each as in settle.lua: result, metrics, done mark and ACK.
-- All of them together are one atomic step, and their counts are added up.
--
-- KEYS[1] result stream   KEYS[2] plan stream   KEYS[3] metrics hash
-- KEYS[3 + i]             the done mark of the i-th plan; of what is no plan any other key
-- ARGV[1] consumer group  ARGV[2] done lifetime, seconds
-- ARGV[3] number f of a result's fields, then their f names
-- then for each plan: entry id, "1" if it leaves a done mark, the names of its metrics with
-- blanks between them, and the f values of its result.
local width = tonumber(ARGV[3])
local counts = {}
local function count(name) counts[name] = (counts[name] or 0) + 1 end

local fields = {}
for f = 1, width do fields[2 * f - 1] = ARGV[3 + f] end

local cursor = 4 + width
for i = 4, #KEYS do
  local entry, marks, metrics = ARGV[cursor], ARGV[cursor + 1] == '1', ARGV[cursor + 2]
  if marks and redis.call('EXISTS', KEYS[i]) == 1 then
    count('duplicates')
  else
    for f = 1, width do fields[2 * f] = ARGV[cursor + 2 + f] end
    local id = redis.call('XADD', KEYS[1], '*', unpack(fields))
    if marks then redis.call('SET', KEYS[i], id, 'EX', ARGV[2]) end
    count(metrics)
  end
  redis.call('XACK', KEYS[2], ARGV[1], entry)
  cursor = cursor + 3 + width
end

for names, times in pairs(counts) do
  for name in string.gmatch(names, '%S+') do
    redis.pcall('HINCRBY', KEYS[3], name, times) -- a count that is no number stops nothing
  end
end
