-- KEYS[1] is a bucket; ARGV: node and what it says, if anything
if ARGV[1] then
    redis.call('HSET', KEYS[1] .. ':nodes', ARGV[1], ARGV[2])
end
local all = redis.call('HGETALL', KEYS[1] .. ':nodes')
local time = redis.call('TIME')
table.insert(all, 1, time[2])
table.insert(all, 1, time[1])
table.insert(all, 1, 'nodes')
return all
