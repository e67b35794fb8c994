-- ARGV: group, most groups, ids …
for at = 3, #ARGV do
    local id = ARGV[at]
    redis.call('ZREM', pending, id)
    local done = true
    for _, other in ipairs(redis.call('SMEMBERS', groups)) do
        done = done and not redis.call('ZSCORE', pending_of(other), id)
    end
    if done then
        redis.call('HDEL', records, id)
        redis.call('ZREM', order, id)
    end
end
return { 'acknowledged' }
