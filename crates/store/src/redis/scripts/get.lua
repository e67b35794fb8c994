-- KEYS[1] is a bucket; ARGV: space, key
local stored = redis.call('HMGET', KEYS[1] .. ':' .. ARGV[1] .. ':' .. ARGV[2], 'revision', 'value', 'lapses')
if not stored[1] then
    return { 'none' }
end
return { 'got', stored[1], stored[2], stored[3] }
