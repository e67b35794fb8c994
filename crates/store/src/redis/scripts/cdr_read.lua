-- ARGV: group, most groups, how many
local ids = redis.call('ZRANGE', pending, 0, tonumber(ARGV[3]) - 1)
local found = { 'read' }
for _, id in ipairs(ids) do
    found[#found + 1] = id
    found[#found + 1] = redis.call('HGET', records, id) or ''
end
return found
