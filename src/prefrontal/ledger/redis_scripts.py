"""The Lua scripts of shared counters. Each runs as one step on the server and takes the time from it, so no clock of ours counts.

A window is a hash: slot number → amount, and ``o`` the oldest slot there, ``n`` the newest, ``t`` the sum. It has `SLOTS` slots,
like the one in memory (`ledger/rates.py`), so both forget what happened at most a sixtieth of the window late, never early.
Running requests are a sorted set: lease → Unix time in ms at which it ends by itself.
"""

from __future__ import annotations

import hashlib

from prefrontal.ledger.rates import SLOTS


class Script:
    """A script and the digest the server knows it by."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


_TIME = f"""
local SLOTS = {SLOTS}
local clock = redis.call('TIME')
local now_s = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local now_ms = math.floor(now_s * 1000)
local function slot_at(window) return math.floor(now_s * SLOTS / window) end
local function int(number) return string.format('%.0f', number) end
"""

_WINDOWS = """
local function total(key, now)
  local state = redis.call('HMGET', key, 'o', 'n', 't')
  if not state[1] then return 0, now end
  local first, last, sum = tonumber(state[1]), tonumber(state[2]), tonumber(state[3])
  local oldest = now - SLOTS
  if last < oldest or first > now + SLOTS then
    redis.call('DEL', key)
    return 0, now
  end
  if first < oldest then
    local names = {}
    for slot = first, oldest - 1 do names[#names + 1] = int(slot) end
    for _, amount in ipairs(redis.call('HMGET', key, unpack(names))) do
      if amount then sum = sum - tonumber(amount) end
    end
    redis.call('HDEL', key, unpack(names))
    redis.call('HSET', key, 'o', int(oldest), 't', int(sum))
    first = oldest
  end
  return sum, first
end

local function add(key, window, now, slot, amount)
  local sum, first = total(key, now)
  local last = tonumber(redis.call('HGET', key, 'n') or slot)
  redis.call('HINCRBY', key, int(slot), int(amount))
  redis.call('HSET', key, 'o', int(math.min(first, slot)), 'n', int(math.max(last, slot)), 't', int(sum + amount))
  redis.call('PEXPIRE', key, int(math.ceil(window * 1000 * (SLOTS + 1) / SLOTS) + 1000))
end
"""

TAKE = Script(
    _TIME
    + _WINDOWS
    + """
local function wait_ms(key, window, now, amount, limit)
  if amount > limit then return -1 end
  local left, first = total(key, now)
  for slot = first, now do
    local counted = redis.call('HGET', key, int(slot))
    if counted then
      left = left - tonumber(counted)
      if left + amount <= limit then
        return math.ceil(1000 * math.max(window / SLOTS, (slot + SLOTS + 1) * window / SLOTS - now_s))
      end
    end
  end
  return math.ceil(1000 * window)
end

local lease, ttl_ms = ARGV[1], tonumber(ARGV[2])
local function gate(index)
  local at = 3 + (index - 1) * 5
  return KEYS[index], ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
end

for index = 1, #KEYS do
  local key, kind, window, amount, limit = gate(index)
  if kind == 'lease' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', int(now_ms))
    if not redis.call('ZSCORE', key, lease) then
      local running = redis.call('ZCARD', key)
      if running + amount > limit then return {index, running, -1} end
    end
  else
    local now = slot_at(window)
    local used = total(key, now)
    if used + amount > limit then return {index, used, wait_ms(key, window, now, amount, limit)} end
  end
end

for index = 1, #KEYS do
  local key, kind, window, _, _, counted = gate(index)
  if counted > 0 then
    if kind == 'lease' then
      redis.call('ZADD', key, int(now_ms + ttl_ms), lease)
      if redis.call('PTTL', key) < ttl_ms then redis.call('PEXPIRE', key, int(ttl_ms + 1000)) end
    else
      local now = slot_at(window)
      add(key, window, now, now, counted)
    end
  end
end
return {0, clock[1], clock[2]}
"""
)
"""All gates are passed and counted, or none. KEYS: one a gate. ARGV: lease, its life in ms, then for each gate its kind
(``window``, ``lease``), window in s, the amount there must be room for, the limit, and the amount that is counted (0: another
gate counts it).

Returns {0, server time in s, its µs}, or {the gate that refused, what is used there, ms until there is room (-1: nobody knows)}.
"""

MEND = Script(
    """
for index = 1, #KEYS do
  local at = (index - 1) * 2
  local slot, change = ARGV[at + 1], ARGV[at + 2]
  if slot == 'lease' then
    redis.call('ZREM', KEYS[index], change)
  elseif redis.call('HEXISTS', KEYS[index], slot) == 1 then
    redis.call('HINCRBY', KEYS[index], slot, change)
    redis.call('HINCRBY', KEYS[index], 't', change)
  end
end
return 1
"""
)
"""Corrects amounts in their slots (nothing where one is forgotten) and ends leases. ARGV for each key: slot and change, or
``lease`` and its id."""

RENEW = Script(
    _TIME
    + """
local ttl_ms = tonumber(ARGV[1])
for index = 1, #KEYS do
  redis.call('ZADD', KEYS[index], int(now_ms + ttl_ms), ARGV[index + 1])
  if redis.call('PTTL', KEYS[index]) < ttl_ms then redis.call('PEXPIRE', KEYS[index], int(ttl_ms + 1000)) end
end
return 1
"""
)
"""Lets leases live on, and brings back those that a restarted server forgot. ARGV: life in ms, then the lease of each key."""

REPLAY = Script(
    _TIME
    + _WINDOWS
    + """
if not redis.call('SET', KEYS[1], 1, 'NX', 'PX', 7200000) then return 0 end
for index = 2, #KEYS do
  local at = (index - 2) * 3
  local window, age, amount = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local now = slot_at(window)
  if age <= SLOTS then add(KEYS[index], window, now, now - age, amount) end
end
return 1
"""
)
"""Counts, once, what was let through while the server could not be asked. KEYS: a name for this delivery, which is remembered
longer than any window, then one a count. ARGV for each: window in s, age in slots, amount."""

BREAKERS = Script(
    _TIME
    + """
local me, tick_ms, lock_ms, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local function read(name)
  local value = redis.call('HGET', KEYS[1], name)
  return value and cjson.decode(value)
end
local function write(name, entry) redis.call('HSET', KEYS[1], name, cjson.encode(entry)) end

for index = 1, count do
  local at = 5 + (index - 1) * 4
  local name, change, rest_ms, pause_ms = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if change == 'open' then
    local known = read(name)
    local ends, pause = now_ms + rest_ms, pause_ms
    if known and known.open and known.holder ~= me then
      ends, pause = math.max(ends, known.ends), math.max(pause, known.pause)
    end
    write(name, {open = true, ends = ends, pause = pause})
  elseif change == 'ready' then
    write(name, {open = true, ends = now_ms, pause = pause_ms})
  else
    write(name, {open = false, ends = now_ms})
  end
end

local wanted = {}
for index = 5 + count * 4, #ARGV, 2 do wanted[ARGV[index]] = ARGV[index + 1] end

local found = {}
local all = redis.call('HGETALL', KEYS[1])
for index = 1, #all, 2 do
  local name, entry = all[index], cjson.decode(all[index + 1])
  if now_ms - entry.ends > (entry.open and 600000 or 60000) then
    redis.call('HDEL', KEYS[1], name)
  elseif not entry.open then
    found[#found + 1] = {name, 0, 0, 0, 0}
  else
    local locked = entry.holder and entry.locked > now_ms
    local want = wanted[name]
    local mine = locked and entry.holder == me
    if want and entry.ends - now_ms <= 2 * tick_ms then
      if mine and want == 'trying' then
        entry.locked = now_ms + lock_ms
        write(name, entry)
      elseif not locked and (entry.holder ~= me or now_ms - entry.locked > 3 * tick_ms) then
        mine, entry.holder, entry.locked = true, me, math.max(entry.ends, now_ms) + lock_ms
        write(name, entry)
      end
    end
    local hold_ms = entry.ends - now_ms
    if not mine and entry.holder and entry.locked > now_ms then hold_ms = math.max(hold_ms, entry.locked - now_ms) end
    found[#found + 1] = {name, 1, math.max(0, math.floor(hold_ms)), math.floor(entry.pause), mine and 1 or 0}
  end
end
if #all > 0 then redis.call('PEXPIRE', KEYS[1], 3600000) end
return found
"""
)
"""Takes in what has opened and closed here, and gives out who may try what rests. KEYS: one hash. ARGV: this replica, the pause
between two calls and the life of a permission to try in ms, the number of changes, for each its name, ``open``, ``ready`` or
``close``, the ms it rests still and the pause in all; then name and ``waiting`` or ``trying`` of all that are open here.

Returns for each: name, 1 while it rests, ms it must be left alone here, the pause in ms, 1 when this replica may try it.
"""

SESSIONS = Script(
    _TIME
    + """
local me, after, most, keep = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
for at = 5, #ARGV, 4 do
  local told = {'s', ARGV[at], 'm', ARGV[at + 1], 't', ARGV[at + 2], 'd', ARGV[at + 3]}
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', keep, '*', 'r', me, unpack(told))
end
if #ARGV >= 5 then redis.call('PEXPIRE', KEYS[1], 86400000) end
local read = redis.call('XREAD', 'COUNT', most, 'STREAMS', KEYS[1], after)
return {int(now_ms), read and read[1][2] or {}}
"""
)
"""Adds who answered which conversation to a stream, and returns the server's time in ms with what was added behind an entry."""
