-- ARGV further: holders
for place = 3, #ARGV do
    redis.call('ZADD', slots, now + ARGV[2], ARGV[place])
end
redis.call('PEXPIRE', slots, ARGV[2] * 2)
return { 'renewed', redis.call('ZCARD', slots) }
