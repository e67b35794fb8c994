-- ARGV: id, node, boot, epoch, seq, snapshot
local node, boot, epoch, seq = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call('EXISTS', ended) == 1 then
    return { 'ended' }
end
local epoch_held = fenced_by(node, boot, epoch)
if epoch_held then
    return { 'fenced', epoch_held }
end
local stored = redis.call('HMGET', call, 'epoch', 'seq', 'node')
if stored[1] and tonumber(stored[1]) == epoch and tonumber(stored[2]) >= seq then
    return { 'absorbed' }
end
if stored[3] and stored[3] ~= node then
    redis.call('SREM', owned(stored[3]), id)
end
redis.call('HSET', call, 'node', node, 'boot', boot, 'epoch', ARGV[4], 'seq', ARGV[5], 'snapshot', ARGV[6])
redis.call('SADD', owned(node), id)
return { 'stored' }
