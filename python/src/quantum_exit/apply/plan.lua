-- One intent's plan, in one atomic step: once however often the intent arrives.
--
-- KEYS[1] done mark of the intent   KEYS[3] the plan stream
-- KEYS[2] the intent stream         KEYS[4] metrics hash
-- ARGV[1] consumer group            ARGV[3] the mark's lifetime, seconds
-- ARGV[2] the intent's entry id     ARGV[4] name under which the verdict is counted
-- then: the plan's field names and values in turn.
--
-- A count that is no number stops nothing.
-- Returns the plan's entry id, or "" when there had been one.
redis.pcall('HINCRBY', KEYS[4], 'processed', 1)
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.pcall('HINCRBY', KEYS[4], 'duplicates', 1)
  redis.call('XACK', KEYS[2], ARGV[1], ARGV[2])
  return ''
end
local fields = {}
for i = 5, #ARGV do fields[#fields + 1] = ARGV[i] end
local id = redis.call('XADD', KEYS[3], '*', unpack(fields))
redis.call('SET', KEYS[1], id, 'EX', ARGV[3])
redis.pcall('HINCRBY', KEYS[4], ARGV[4], 1)
redis.call('XACK', KEYS[2], ARGV[1], ARGV[2])
return id
