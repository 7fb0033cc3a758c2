"""What the server does in one step, in Lua. Every key has the same hash tag, so a cluster keeps them on one node."""

from __future__ import annotations

# KEYS: meta, stream. ARGV: key prefix, schema; then of each event: digest of its id, digest of its content, its key of
# the talent's history, of the job's history, its time, its content.
# Returns one letter per event: a(ccepted), d(uplicate), c(onflict).
APPEND = """
local meta, stream, prefix, schema = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local known = redis.call('HMGET', meta, 'schema', 'seq', 'newest')
if known[1] and known[1] ~= schema then
  return redis.error_reply('SCHEMA ' .. known[1])
end
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

# KEYS: histories. Returns the entries of each, all of one moment.
HISTORIES = """
local found = {}
for i = 1, #KEYS do found[i] = redis.call('LRANGE', KEYS[i], 0, -1) end
return found
"""

# KEYS: histories. Returns the seq of the newest entry of each, as text.
VERSIONS = """
local found = {}
for i = 1, #KEYS do
  local entry = redis.call('LINDEX', KEYS[i], -1)
  found[i] = entry and string.match(entry, '^%d+') or '0'
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
redis.call('HINCRBY', meta, 'erasures', 1)
return count
"""

# KEYS: meta. ARGV: seq and erasures for which the newest time was found, the time. Returns whether they still stand.
RESTORE_NEWEST = """
local known = redis.call('HMGET', KEYS[1], 'seq', 'erasures')
if known[1] ~= ARGV[1] or known[2] ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], 'newest') else redis.call('HSET', KEYS[1], 'newest', ARGV[3]) end
redis.call('HDEL', KEYS[1], 'stale')
return 1
"""
