-- The right to send one order, in one atomic step: switch, duplicate, permit used up,
-- intention written. What this step granted may reach the exchange; nothing else may.
--
-- KEYS[1] the runtime kill switch          KEYS[4] the permit
-- KEYS[2] the brain's env kill switch      KEYS[5] the intent's used mark
-- KEYS[3] the plan's done mark             KEYS[6] hash of open grants
--                                          KEYS[7] the symbol's ledger
-- KEYS[8] the mark of a proof's drill: such a plan passes every gate and is never sent
-- ARGV[1] field in the open hash (the plan's identity)
-- ARGV[2] the grant, JSON
-- ARGV[3] "first", or for a later attempt the JSON of the grant it replaces
-- ARGV[4] "exempt" when the kill switch does not apply (cancelling a flat symbol's stop)
-- ARGV[5] "intent" when the plan lives on a signed intent, which serves once
-- ARGV[6] lifetime of the used mark, seconds
-- ARGV[7] "after" when the end of the symbol's plan before goes out together with this: then
--         KEYS[9] is that plan's done mark and ARGV[8] the amount that its ledger must hold
--
-- Returns {"granted", the ledger's amount} or {what stands against it}. From that amount the
-- settle step will go on.
-- Permission is positive: only {"active": false} lets an order pass.
-- A key of another type answers with a table: it cannot be read, and that counts as on.
local function switched_off()
  local value = redis.pcall('GET', KEYS[1])
  if type(value) ~= 'string' then return false end
  local ok, document = pcall(cjson.decode, value)
  if not ok or type(document) ~= 'table' or document['active'] ~= false then return false end
  local brain = redis.pcall('GET', KEYS[2])
  return type(brain) ~= 'table' and brain ~= 'true'
end

local function ledger_amount()
  local amount = redis.pcall('HGET', KEYS[7], 'position_amt')
  return type(amount) == 'string' and amount or ''
end

local function granted()
  redis.call('HSET', KEYS[6], ARGV[1], ARGV[2])
  return {'granted', ledger_amount()}
end

-- The world that the order was judged in is the one behind that end, or it is none.
if ARGV[7] == 'after' and (redis.call('EXISTS', KEYS[9]) == 0 or ledger_amount() ~= ARGV[8]) then
  return {'moved'}
end

if ARGV[4] ~= 'exempt' and not switched_off() then return {'killed'} end

if ARGV[3] ~= 'first' then
  if redis.call('HGET', KEYS[6], ARGV[1]) ~= ARGV[3] then return {'superseded'} end
  return granted()
end

if redis.call('EXISTS', KEYS[3]) == 1 or redis.call('HEXISTS', KEYS[6], ARGV[1]) == 1 then
  return {'duplicate'}
end
if ARGV[5] == 'intent' and redis.call('EXISTS', KEYS[5]) == 1 then return {'intent_used'} end
if redis.call('EXISTS', KEYS[4]) == 0 then return {'permit_gone'} end
-- What takes memory comes first: where none is left Redis refuses a script's first write alone,
-- and a permit would be used up for nothing, or an order sent whose end cannot be written.
if ARGV[5] == 'intent' then redis.call('SET', KEYS[5], ARGV[1], 'EX', ARGV[6]) end
local drill = redis.call('EXISTS', KEYS[8]) == 1
local answer = drill and {'drill'} or granted()
redis.call('DEL', KEYS[4])
return answer
