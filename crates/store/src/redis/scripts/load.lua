-- ARGV: id
local stored = redis.call('HMGET', call, 'node', 'boot', 'epoch', 'seq', 'snapshot')
if not stored[1] then
    return { 'none' }
end
return { 'loaded', stored[1], stored[2], stored[3], stored[4], stored[5] }
