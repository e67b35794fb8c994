-- What the scripts of calls share. KEYS[1] is a bucket, `{cluster:bNN}`: all that a script touches lies in it, and so in one slot.
local bucket, id = KEYS[1], ARGV[1]
local call, ended = bucket .. ':call:' .. id, bucket .. ':ended:' .. id

local function owned(node)
    return bucket .. ':owned:' .. node
end

-- The epoch that keeps this writer from writing, if one does.
local function fenced_by(node, boot, epoch)
    local stored = redis.call('HMGET', call, 'epoch', 'node', 'boot')
    local held = tonumber(stored[1] or '-1')
    if held > epoch or (held == epoch and (stored[2] ~= node or stored[3] ~= boot)) then
        return held
    end
    return nil
end
