"""What the server does in one step, in Lua. Every key has the same hash tag, so a cluster keeps them on one node.

What leads to less memory may run when the memory is full: allow-oom.
"""

from __future__ import annotations

# KEYS: meta, stream. ARGV: key prefix, schema; then of each event: digest of its id, digest of its content, its key of
# the talent's history, of the job's history, its time, its content.
# Returns one letter per event: a(ccepted), d(uplicate), c(onflict).
APPEND = """
local meta, stream, prefix, schema = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local known = redis.call('HMGET', meta, 'schema', 'seq', 'newest', 'replaying')
if known[1] and known[1] ~= schema then
  return redis.error_reply('SCHEMA ' .. known[1])
end
if known[4] then return redis.error_reply('REPLAYING') end
local seq, newest = tonumber(known[2] or '0'), known[3] or ''
local outcomes = {}
for i = 3, #ARGV, 6 do
  local id, digest = ARGV[i], ARGV[i + 1]
  local ids = prefix .. 'id:' .. string.format('%02x%02x', string.byte(id, 1, 2))
  if redis.call('HSETNX', ids, id, digest) == 0 then
    outcomes[#outcomes + 1] = redis.call('HGET', ids, id) == digest and 'd' or 'c'
  else
    local place = string.format('%.0f', seq + 1)
    local added = redis.pcall('XADD', stream, place .. '-0', 'e', ARGV[i + 5])
    if type(added) == 'table' and added.err then
      redis.call('HDEL', ids, id)
      return added
    end
    seq = seq + 1
    local entry = place .. ':' .. ARGV[i + 5]
    redis.call('RPUSH', prefix .. ARGV[i + 2], entry)
    redis.call('RPUSH', prefix .. ARGV[i + 3], entry)
    if ARGV[i + 4] > newest then newest = ARGV[i + 4] end
    outcomes[#outcomes + 1] = 'a'
  end
end
-- Also when all were duplicates: their first writer may still wait for the disk, and a client can wait only for what
-- was written up to a write of its own.
redis.call('HSET', meta, 'schema', schema, 'seq', string.format('%.0f', seq))
if newest ~= '' then redis.call('HSET', meta, 'newest', newest) end
return table.concat(outcomes)
"""

# KEYS: meta, histories. ARGV: the first entry of each, below 0 from its end. Returns the entries, all of one moment.
HISTORIES = """
if redis.call('HEXISTS', KEYS[1], 'replaying') == 1 then return redis.error_reply('REPLAYING') end
local found = {}
for i = 2, #KEYS do found[i - 1] = redis.call('LRANGE', KEYS[i], ARGV[i - 1], -1) end
return found
"""

# KEYS: meta, histories. Returns the seq of the newest entry of each, as text.
VERSIONS = """
if redis.call('HEXISTS', KEYS[1], 'replaying') == 1 then return redis.error_reply('REPLAYING') end
local found = {}
for i = 2, #KEYS do
  local entry = redis.call('LINDEX', KEYS[i], -1)
  found[i - 1] = entry and string.match(entry, '^%d+') or '0'
end
return found
"""

# KEYS: meta, stream. ARGV: key prefix; then of each event: digest of its id, its seq, its key of the subject's own
# history, of the other side's history, its time, its entry. Erases those that are still there; returns how many.
FORGET = """
local meta, stream, prefix = KEYS[1], KEYS[2], ARGV[1]
local newest = redis.call('HGET', meta, 'newest') or ''
local count = 0
for i = 2, #ARGV, 6 do
  local id, entry = ARGV[i], ARGV[i + 5]
  if redis.call('LREM', prefix .. ARGV[i + 2], 1, entry) == 1 then
    redis.call('LREM', prefix .. ARGV[i + 3], 1, entry)
    redis.call('XDEL', stream, ARGV[i + 1] .. '-0')
    redis.call('HDEL', prefix .. 'id:' .. string.format('%02x%02x', string.byte(id, 1, 2)), id)
    if ARGV[i + 4] ~= '' and ARGV[i + 4] >= newest then redis.call('HSET', meta, 'stale', '1') end
    count = count + 1
  end
end
if count > 0 then redis.call('HINCRBY', meta, 'erasures', 1) end
return count
"""

# KEYS: stream, its copy. ARGV: the first seq to copy, how many at most, for how many seconds a copy that nobody goes on
# with stays. Returns the id of the last one that was copied, '' for none.
COPY_STREAM = """
local entries = redis.call('XRANGE', KEYS[1], ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])
for _, entry in ipairs(entries) do redis.call('XADD', KEYS[2], entry[1], unpack(entry[2])) end
redis.call('EXPIRE', KEYS[2], ARGV[3])
return #entries > 0 and entries[#entries][1] or ''
"""

# KEYS: stream, its copy. ARGV: the first seq that is not copied yet. Copies what came last and puts the copy into the
# stream's place; its groups and its last id go with it. Having all that the stream has, a copy of the same length is
# the same. Returns 'done'; 'again' when entries went meanwhile; 'held' while somebody has still to acknowledge some,
# which only the old one knows.
EXCHANGE_STREAM = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 'done' end
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1] .. '-0', '+')) do
  redis.call('XADD', KEYS[2], entry[1], unpack(entry[2]))
end
if redis.call('XLEN', KEYS[1]) ~= redis.call('XLEN', KEYS[2]) then return 'again' end
local function named(list)
  local its = {}
  for i = 1, #list, 2 do its[list[i]] = list[i + 1] end
  return its
end
local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
for _, group in ipairs(groups) do
  if named(group)['pending'] > 0 then return 'held' end
end
redis.call('XGROUP', 'CREATE', KEYS[2], 'exchange', '0', 'MKSTREAM')
redis.call('XGROUP', 'DESTROY', KEYS[2], 'exchange')
for _, group in ipairs(groups) do
  redis.call('XGROUP', 'CREATE', KEYS[2], named(group)['name'], named(group)['last-delivered-id'])
end
redis.call('XSETID', KEYS[2], named(redis.call('XINFO', 'STREAM', KEYS[1]))['last-generated-id'])
redis.call('PERSIST', KEYS[2])
redis.call('RENAME', KEYS[2], KEYS[1])
return 'done'
"""

# KEYS: meta. ARGV: seq and erasures for which the newest time was found, the time. Returns whether they still stand.
RESTORE_NEWEST = """
local known = redis.call('HMGET', KEYS[1], 'seq', 'erasures')
if known[1] ~= ARGV[1] or known[2] ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], 'newest') else redis.call('HSET', KEYS[1], 'newest', ARGV[3]) end
redis.call('HDEL', KEYS[1], 'stale')
return 1
"""

# KEYS: meta, stream. ARGV: the archive, schema. Returns the archive that the log belongs to from its first compaction.
CLAIM = """#!lua flags=allow-oom
redis.call('HSET', KEYS[1], 'schema', ARGV[2])
redis.call('HSETNX', KEYS[1], 'archive', ARGV[1])
return redis.call('HGET', KEYS[1], 'archive')
"""

# KEYS: meta, stream. ARGV: group, seq. The group reads on behind that place, wherever it stood. Returns how far the
# stream is trimmed: when that is more, events are missing in between.
SEEK = """#!lua flags=allow-oom
if redis.pcall('XGROUP', 'SETID', KEYS[2], ARGV[1], ARGV[2] .. '-0').err then
  redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[1], ARGV[2] .. '-0', 'MKSTREAM')
end
return redis.call('HGET', KEYS[1], 'trimmed') or '0'
"""

# KEYS: meta, stream. ARGV: the archive, the archive's own group, seq up to which events may go, how many at most.
# Removes the oldest, but none that another group has still to read or to acknowledge.
# Returns how far the stream is trimmed now, and the group that keeps it from more.
TRIM = """#!lua flags=allow-oom
local known = redis.call('HMGET', KEYS[1], 'archive', 'trimmed')
if known[1] ~= ARGV[1] then return redis.error_reply('ARCHIVE') end
local trimmed, wanted, holder = tonumber(known[2] or '0'), tonumber(ARGV[3]), ''
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
  local its = {}
  for i = 1, #group, 2 do its[group[i]] = group[i + 1] end
  if its['name'] ~= ARGV[2] then
    local read = tonumber(string.match(its['last-delivered-id'], '^%d+'))
    if its['pending'] > 0 then
      read = tonumber(string.match(redis.call('XPENDING', KEYS[2], its['name'])[2], '^%d+')) - 1
    end
    if read < wanted then wanted, holder = read, its['name'] end
  end
end
local last = math.min(wanted, trimmed + tonumber(ARGV[4]))
if last > trimmed then
  redis.call('XTRIM', KEYS[2], 'MINID', '=', string.format('%.0f', last + 1) .. '-0')
  redis.call('HSET', KEYS[1], 'trimmed', string.format('%.0f', last))
  trimmed = last
end
return {string.format('%.0f', trimmed), holder}
"""

# KEYS: meta, stream. ARGV: the archive, schema, seq up to which it reaches. From here on nobody reads or writes until
# the replay is done. Returns the last seq that the log itself knew.
BEGIN_REPLAY = """
local known = redis.call('HMGET', KEYS[1], 'schema', 'seq', 'archive')
if known[1] and known[1] ~= ARGV[2] then return redis.error_reply('SCHEMA ' .. known[1]) end
if known[3] and ARGV[1] ~= '' and known[3] ~= ARGV[1] then return redis.error_reply('ARCHIVE') end
local last = tonumber(known[2] or '0')
if redis.call('EXISTS', KEYS[2]) == 1 then
  local stream = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #stream, 2 do
    if stream[i] == 'last-generated-id' then
      last = math.max(last, tonumber(string.match(stream[i + 1], '^%d+')))
    end
  end
end
redis.call('HSET', KEYS[1], 'schema', ARGV[2], 'replaying', '1',
  'seq', string.format('%.0f', math.max(last, tonumber(ARGV[3]))))
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], 'archive', ARGV[1]) end
-- What the stream has lost is read from the archive.
if last < tonumber(ARGV[3]) then redis.call('HSET', KEYS[1], 'trimmed', ARGV[3]) end
return string.format('%.0f', last)
"""

# KEYS: meta. ARGV: key prefix; then of each event: digest of its id, digest of its content, its key of the talent's
# history, of the job's history, its entry.
RESTORE = """
local prefix = ARGV[1]
for i = 2, #ARGV, 5 do
  local ids = prefix .. 'id:' .. string.format('%02x%02x', string.byte(ARGV[i], 1, 2))
  if redis.call('HSETNX', ids, ARGV[i], ARGV[i + 1]) == 1 then
    redis.call('RPUSH', prefix .. ARGV[i + 2], ARGV[i + 4])
    redis.call('RPUSH', prefix .. ARGV[i + 3], ARGV[i + 4])
  end
end
return redis.status_reply('OK')
"""

# KEYS: meta, stream. ARGV: newest time. Everybody may read and write again.
END_REPLAY = """
redis.call('HDEL', KEYS[1], 'replaying', 'stale', 'newest')
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], 'newest', ARGV[1]) end
return redis.status_reply('OK')
"""
