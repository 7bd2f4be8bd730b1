-- The end of one plan, in one atomic step: result, ledger, metrics, done mark and ACK.
--
-- KEYS[1] result stream      KEYS[4] metrics hash
-- KEYS[2] done mark          KEYS[5] hash of open grants
-- KEYS[3] plan stream        KEYS[6] the symbol's ledger
-- ARGV[1] consumer group     ARGV[4] field in the open hash
-- ARGV[2] entry id           ARGV[5] number m of metric names, then the m names
-- ARGV[3] done lifetime, seconds; "0": leaves no mark
-- then: number l of ledger strings, the l strings, and the result's fields. The ledger strings:
-- the amount that they were reckoned from ("" for none), then name, value, ...
--
-- Returns the result's entry id; "" when this plan had ended before: then only the ACK is due;
-- or {amount} when the ledger holds another amount than was thought: then nothing was done.
--
-- A plan without an order may end with many others, see deny.lua.
local cursor = 5
local function take()
  local count = tonumber(ARGV[cursor])
  local values = {}
  for i = 1, count do values[i] = ARGV[cursor + i] end
  cursor = cursor + count + 1
  return values
end
local metrics = take()
local ledger = take()

if ARGV[3] ~= '0' and redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('XACK', KEYS[3], ARGV[1], ARGV[2])
  redis.call('HDEL', KEYS[5], ARGV[4])
  redis.pcall('HINCRBY', KEYS[4], 'duplicates', 1)
  return ''
end

local before = table.remove(ledger, 1)
if before then
  local amount = redis.pcall('HGET', KEYS[6], 'position_amt') or ''
  if type(amount) ~= 'string' then
    -- Of another type: the order has been at the exchange, and its end is written whatever lies
    -- here. A ledger that cannot be read begins anew.
    redis.call('DEL', KEYS[6])
    amount = ''
  end
  if amount ~= before then return {amount} end
end

local fields = {}
for i = cursor, #ARGV do fields[#fields + 1] = ARGV[i] end
local id = redis.call('XADD', KEYS[1], '*', unpack(fields))
if ARGV[3] ~= '0' then redis.call('SET', KEYS[2], id, 'EX', ARGV[3]) end
for _, name in ipairs(metrics) do
  redis.pcall('HINCRBY', KEYS[4], name, 1) -- a count that is no number stops nothing
end
if #ledger > 0 then redis.call('HSET', KEYS[6], unpack(ledger)) end
redis.call('HDEL', KEYS[5], ARGV[4])
redis.call('XACK', KEYS[3], ARGV[1], ARGV[2])
return id
