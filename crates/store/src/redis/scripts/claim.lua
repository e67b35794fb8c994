-- ARGV: id, node, boot, the epoch seen
local node, boot, seen = ARGV[2], ARGV[3], tonumber(ARGV[4])
local stored = redis.call('HMGET', call, 'epoch', 'node', 'boot')
if not stored[1] then
    return { redis.call('EXISTS', ended) == 1 and 'ended' or 'unknown' }
end
local held = tonumber(stored[1])
local repeated = held == seen + 1 and stored[2] == node and stored[3] == boot
if held ~= seen and not repeated then
    return { 'fenced', held }
end
redis.call('SREM', owned(stored[2]), id)
redis.call('HSET', call, 'node', node, 'boot', boot, 'epoch', string.format('%d', seen + 1))
redis.call('SADD', owned(node), id)
local now = redis.call('HMGET', call, 'seq', 'snapshot')
return { 'claimed', seen + 1, now[1], now[2] }
