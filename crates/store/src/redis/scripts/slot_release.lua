-- ARGV further: holder
redis.call('ZREM', slots, ARGV[3])
return { 'released' }
