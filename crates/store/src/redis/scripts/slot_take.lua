-- ARGV further: holder, max_calls or '', cps or '', burst, grace in ms
local holder, max_calls, cps = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local held = redis.call('ZCARD', slots)
if redis.call('ZSCORE', slots, holder) then
    redis.call('ZADD', slots, now + ARGV[2], holder)
    return { 'taken', held }
end
local word = 'taken'
if now - redis.call('GET', since) < tonumber(ARGV[7]) then
    word = 'unsure'
end
if max_calls and held >= max_calls then
    return { 'calls', held }
end
if cps then
    local taken = KEYS[1] .. ':cps:' .. ARGV[1]
    local micros = time[1] * 1000000 + time[2]
    redis.call('ZREMRANGEBYSCORE', taken, '-inf', micros - 1000000)
    local lately = redis.call('ZCOUNT', taken, '(' .. string.format('%.0f', micros - 100000), '+inf')
    if redis.call('ZCARD', taken) >= cps or lately >= tonumber(ARGV[6]) then
        return { 'cps', held }
    end
    redis.call('ZADD', taken, string.format('%.0f', micros), holder)
    redis.call('PEXPIRE', taken, 2000)
end
redis.call('ZADD', slots, now + ARGV[2], holder)
redis.call('PEXPIRE', slots, ARGV[2] * 2)
return { word, held + 1 }
