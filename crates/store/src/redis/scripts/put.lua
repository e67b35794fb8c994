-- KEYS[1] is a bucket; ARGV: space, key, revision seen or '', value or '', whether there is one, when it lapses in ms or '',
-- channel, how many lapsed keys to clear away, in how many ms it lapses
local bucket, space, key, seen, value, lapses = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6]
local document = bucket .. ':' .. space .. ':' .. key
local index, lapsing = bucket .. ':' .. space .. ':keys', bucket .. ':' .. space .. ':lapsing'

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, gone in ipairs(redis.call('ZRANGE', lapsing, '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[8])) do
    redis.call('ZREM', lapsing, gone)
    if redis.call('EXISTS', bucket .. ':' .. space .. ':' .. gone) == 0 then
        redis.call('ZREM', index, gone)
    end
end

local stored = redis.call('HMGET', document, 'revision', 'seen', 'value', 'lapses')
local held = stored[1] or ''
-- Microseconds since 1970 never come again, whatever was removed in between.
local fresh = math.max(time[1] * 1000000 + time[2], (tonumber(stored[1] or '0')) + 1)
local revision = string.format('%.0f', fresh)

if ARGV[5] == '0' then
    if held == '' then
        return { 'put', revision }
    end
    if held ~= seen then
        return { 'conflict', held }
    end
    redis.call('DEL', document)
    redis.call('ZREM', index, key)
    redis.call('ZREM', lapsing, key)
    redis.call('PUBLISH', ARGV[7], '- ' .. key)
    return { 'put', revision }
end
if held ~= seen then
    if held ~= '' and stored[2] == seen and stored[3] == value and stored[4] == lapses then
        return { 'put', held }
    end
    return { 'conflict', held }
end
redis.call('HSET', document, 'revision', revision, 'seen', seen, 'value', value, 'lapses', lapses)
redis.call('ZADD', index, 0, key)
if lapses == '' then
    redis.call('PERSIST', document)
    redis.call('ZREM', lapsing, key)
else
    -- By the clock here, whatever the writer's shows: documents of several nodes have to lapse by one.
    redis.call('PEXPIRE', document, ARGV[9])
    redis.call('ZADD', lapsing, now + ARGV[9], key)
end
redis.call('PUBLISH', ARGV[7], revision .. ' ' .. key)
return { 'put', revision }
