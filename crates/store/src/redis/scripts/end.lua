-- ARGV: id, node, boot, epoch, life of the tombstone in ms, most CDRs of a bucket, the CDR if there is one
local node, boot, epoch = ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('EXISTS', ended) == 1 then
    return { 'ended before' }
end
local epoch_held = fenced_by(node, boot, epoch)
if epoch_held then
    return { 'fenced', epoch_held }
end
if ARGV[7] then
    local records, order = bucket .. ':cdr', bucket .. ':cdr:order'
    if redis.call('HEXISTS', records, id) == 0 then
        if redis.call('HLEN', records) >= tonumber(ARGV[6]) then
            return { 'full' }
        end
        local place = redis.call('INCR', bucket .. ':cdr:place')
        redis.call('HSET', records, id, ARGV[7])
        redis.call('ZADD', order, place, id)
        for _, group in ipairs(redis.call('SMEMBERS', bucket .. ':cdr:groups')) do
            redis.call('ZADD', bucket .. ':cdr:of:' .. group, place, id)
        end
    end
end
local owner = redis.call('HGET', call, 'node')
if owner then
    redis.call('SREM', owned(owner), id)
    redis.call('DEL', call)
end
redis.call('SET', ended, '', 'PX', ARGV[5])
return { 'ended' }
