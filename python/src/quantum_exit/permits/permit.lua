-- One plan's permit or refusal, written and made known in one atomic step with the ACK.
--
-- KEYS[1] the permit   KEYS[2] the plan stream   KEYS[3] metrics hash
-- ARGV[1] consumer group          ARGV[5] channel that wakes the executor
-- ARGV[2] the plan's entry id     ARGV[6] plan_id
-- ARGV[3] the permit, JSON        ARGV[7] name under which it is counted
-- ARGV[4] lifetime, seconds
--
-- There is one key for a plan_id, but anybody may send a plan with any id. So a permit in
-- place gives way only to one for the same entry, or to one for a plan whose source is
-- proven where its own was not. A copy of a plan, or a plan that guessed its id, neither
-- replaces nor uses up what was written for the first.
--
-- Returns "written" or "kept".
local function entry_of(permit)
  return tostring(permit['stream']) .. '/' .. tostring(permit['entry_id'])
end

local kind = redis.call('TYPE', KEYS[1])['ok']
local keep = false
if kind == 'string' then
  local ok, old = pcall(cjson.decode, redis.call('GET', KEYS[1]))
  local new = cjson.decode(ARGV[3])
  if ok and type(old) == 'table' and old['entry_id'] and entry_of(old) ~= entry_of(new) then
    keep = not (new['verified'] == true and old['verified'] ~= true)
  end
elseif kind ~= 'none' then
  redis.call('DEL', KEYS[1])
end
if not keep then
  redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[4])
  redis.call('PUBLISH', ARGV[5], ARGV[6])
end
-- a count that is no number stops nothing
redis.pcall('HINCRBY', KEYS[3], keep and 'kept' or ARGV[7], 1)
redis.call('XACK', KEYS[2], ARGV[1], ARGV[2])
return keep and 'kept' or 'written'
