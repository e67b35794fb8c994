-- ARGV: group, most groups
return { 'counted', redis.call('ZCARD', pending) }
