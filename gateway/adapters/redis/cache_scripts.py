"""What the cache's server does in one step, in Lua. All keys share a hash tag, so a cluster keeps them on one node.

A claim to a key stands beside it, under the key and `:claim`, and holds the name of the process that has it.
"""

from __future__ import annotations

# What has no end is nobody's claim. A server without memory takes none, and whoever lacks a list makes it.
_CLAIMED = """
local function claimed(key)
  local claim = key .. ':claim'
  if redis.call('PTTL', claim) == -1 then redis.call('DEL', claim) end
  local set = redis.pcall('SET', claim, ARGV[1], 'NX', 'PX', ARGV[2])
  return (set or redis.pcall('GET', claim) == ARGV[1]) and 1 or 0
end
"""

# KEYS: of lists. ARGV: the process, how long its claims stand (ms).
# Returns for each list its value; where there is none 1 when this process is to make it, 0 when another has claimed it.
LOOK_UP = (
    _CLAIMED
    + """
local found = redis.call('MGET', unpack(KEYS))
for i, value in ipairs(found) do
  if not value then found[i] = claimed(KEYS[i]) end
end
return found
"""
)

# KEYS: of lists. ARGV: the process, how long its claims stand (ms). Returns 1 or 0 as above, whatever is there.
CLAIM = (
    _CLAIMED
    + """
local won = {}
for i, key in ipairs(KEYS) do won[i] = claimed(key) end
return won
"""
)

# KEYS: of lists. ARGV: the process. Gives up its claims.
RELEASE = """
for i, key in ipairs(KEYS) do
  if redis.pcall('GET', key .. ':claim') == ARGV[1] then redis.call('DEL', key .. ':claim') end
end
return 1
"""

# KEYS: of a caller. ARGV: a cost, and how much of it there may be in a minute. The key holds the time at which nothing
# that was spent counts any more (GCRA), by this server's clock, in microseconds.
# Returns what remains, and the milliseconds until the cost is there (0: it is spent now) and until all is.
SPEND = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost, unit, minute = tonumber(ARGV[1]), 60000000 / tonumber(ARGV[2]), 60000000
local kept = redis.pcall('GET', KEYS[1])
local clear = math.max(0, ((type(kept) == 'string' and tonumber(kept)) or now) - now)
if clear > 2 * minute then clear = 0 end
local over = clear + cost * unit - minute
if over > 1 then
  return {math.max(0, math.floor((minute - clear) / unit + 0.001)), math.ceil(over / 1000), math.ceil(clear / 1000)}
end
clear = clear + cost * unit
redis.call('SET', KEYS[1], string.format('%.0f', now + clear), 'PX', math.ceil(clear / 1000) + 1)
return {math.max(0, math.floor((minute - clear) / unit + 0.001)), 0, math.ceil(clear / 1000)}
"""

# KEYS: the index, the sizes; then keys to be written. ARGV: the process, how long values are kept (ms), how many bytes
# there may be in all; then the values.
# The index orders all keys by when they expire; the sizes hold the bytes of each, and under '' those of all. What comes
# to its end first makes room. A key that the server has dropped by itself counts until its time has come. Where one of
# the two is gone or is something else both begin anew, and what is not counted any more goes when its time has come.
PUT = """
local index, sizes = KEYS[1], KEYS[2]
local process, ttl, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local total = nil
if redis.call('TYPE', index).ok == 'zset' and redis.call('TYPE', sizes).ok == 'hash' then
  total = tonumber(redis.call('HGET', sizes, '') or '')
end
if not (total and total >= 0) then
  redis.call('DEL', index, sizes)
  total = 0
end
local function forget(key)
  total = total - (tonumber(redis.call('HGET', sizes, key) or '0') or 0)
  redis.call('HDEL', sizes, key)
end
for _, key in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, 200)) do
  redis.call('ZREM', index, key)
  forget(key)
end
for i = 3, #KEYS do
  local key, value = KEYS[i], ARGV[i + 1]
  local size = #value + 2 * #key + 200
  forget(key)
  redis.call('SET', key, value, 'PX', ttl)
  redis.call('ZADD', index, now + ttl, key)
  redis.call('HSET', sizes, key, size)
  total = total + size
  if redis.pcall('GET', key .. ':claim') == process then redis.call('DEL', key .. ':claim') end
end
while total > most do
  local first = redis.call('ZPOPMIN', index)
  if #first == 0 then total = 0 break end
  redis.call('UNLINK', first[1])
  forget(first[1])
end
redis.call('HSET', sizes, '', string.format('%.0f', math.max(total, 0)))
redis.call('PEXPIRE', index, 2 * ttl)
redis.call('PEXPIRE', sizes, 2 * ttl)
return 1
"""
