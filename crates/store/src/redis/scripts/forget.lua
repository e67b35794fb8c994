-- KEYS[1] is a bucket; ARGV: node
return { 'forgotten', redis.call('HDEL', KEYS[1] .. ':nodes', ARGV[1]) }
