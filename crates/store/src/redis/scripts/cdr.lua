-- What the scripts of CDRs share: the list of what a group has not acknowledged. A group that is new starts with all there are.
-- KEYS[1] is a bucket; ARGV: group, most groups
local bucket, group = KEYS[1], ARGV[1]
local records, order, groups = bucket .. ':cdr', bucket .. ':cdr:order', bucket .. ':cdr:groups'

local function pending_of(name)
    return bucket .. ':cdr:of:' .. name
end

local pending = pending_of(group)
if redis.call('SISMEMBER', groups, group) == 0 then
    if redis.call('SCARD', groups) >= tonumber(ARGV[2]) then
        return { 'too many groups' }
    end
    redis.call('SADD', groups, group)
    redis.call('ZUNIONSTORE', pending, 1, order)
end
