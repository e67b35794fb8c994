-- KEYS[1] is a bucket; ARGV: space, from (of ZRANGE BYLEX), how many
local bucket, space = KEYS[1], ARGV[1]
local found, from, left = { 'scanned' }, ARGV[2], tonumber(ARGV[3])
-- Keys of documents that have lapsed are passed over.
while left > 0 do
    local keys = redis.call('ZRANGE', bucket .. ':' .. space .. ':keys', from, '+', 'BYLEX', 'LIMIT', 0, left)
    for _, key in ipairs(keys) do
        local stored = redis.call('HMGET', bucket .. ':' .. space .. ':' .. key, 'revision', 'value', 'lapses')
        if stored[1] then
            found[#found + 1] = key
            found[#found + 1] = stored[1]
            found[#found + 1] = stored[2]
            found[#found + 1] = stored[3]
            left = left - 1
        end
        from = '(' .. key
    end
    if #keys == 0 then
        break
    end
end
return found
