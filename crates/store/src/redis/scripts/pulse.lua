-- KEYS[1] is a bucket; ARGV: a mark for one that has none. Says whose data this is, and which server's.
local mark = KEYS[1] .. ':mark'
redis.call('SET', mark, ARGV[1], 'NX')
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
return { redis.call('GET', mark), server }
