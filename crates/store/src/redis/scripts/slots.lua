-- What the scripts of slots share. KEYS[1] is a bucket; ARGV: gateway, lease in ms
local slots, since = KEYS[1] .. ':slots:' .. ARGV[1], KEYS[1] .. ':slots-since:' .. ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', slots, '-inf', now)
redis.call('SET', since, now, 'NX')
