-- KEYS[1] is a bucket; ARGV: node
local found = redis.call('SMEMBERS', KEYS[1] .. ':owned:' .. ARGV[1])
table.insert(found, 1, 'owned')
return found
