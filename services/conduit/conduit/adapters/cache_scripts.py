"""What Redis does for the cache, each as one step and one round trip; ``cache_records`` says with which keys, and why.

A look follows the ids that it finds and joins the values, which are msgpack already, to one msgpack array: the reply is
decoded by one call. Lua's numbers hold the ids exactly, which have 53 bits. No key is declared as Redis Cluster would
want it: the cache is one server.
"""

from conduit.adapters.cache_records import DELETED, PUBLISHED, SLOTS_A_SHARD, TAGGED
from conduit.adapters.redis_server import Script
from conduit.ids import SEQUENCE_BITS, SHARDS

# Every one begins with these. ARGV[1] is a token of the caller's own: the lease's, and the epoch's where there is none.
_COMMON = """
-- As values of records: FALSE of what is not there, TRUE of what is too large to be kept.
local NIL, FALSE, TRUE = '\\192', '\\194', '\\195'

local function array(parts, size)
  local head
  if size < 16 then head = string.char(144 + size) else head = '\\220' .. struct.pack('>H', size) end
  return head .. table.concat(parts, '', 1, size)
end

local function marks()
  local found = redis.call('HMGET', 'marks', 'epoch', 'now')
  if not found[1] then
    redis.call('HSET', 'marks', 'epoch', ARGV[1], 'now', 0)
    found = {ARGV[1], '0'}
  end
  return found[1], found[2]
end

local function mark(slot) return tonumber(redis.call('HGET', 'marks', slot) or 0) end

-- The head of an id's key, and the id as it is written in one.
local function key(kind, id) return kind .. string.format('%.0f', id) end

local function all(kind, ids)
  if #ids == 0 then return array({}, 0), true end
  local keys = {}
  for i, id in ipairs(ids) do keys[i] = key(kind, id) end
  local found, whole = redis.call('MGET', unpack(keys)), true
  for i = 1, #ids do
    if not found[i] or found[i] == FALSE then found[i], whole = NIL, false end
  end
  return array(found, #ids), whole
end

-- What a look says of what is missing. ARGV[2] is how many milliseconds a lease holds; 0: everybody leads.
local function miss(whole, name)
  if whole then return '\\146' .. NIL .. NIL end
  local epoch, now = marks()
  local leads = ARGV[2] == '0' or redis.call('SET', 'lease:' .. name, ARGV[1], 'NX', 'PX', ARGV[2])
  return '\\146' .. cmsgpack.pack(epoch .. ':' .. now) .. (leads and TRUE or FALSE)
end
"""

def _script(rest: str) -> Script:
    return Script((_COMMON + rest).encode())


ARTICLE = _script(
    """
local id = ARGV[3]
local found = redis.call('MGET', 's:' .. id, 'b:' .. id)
local summary, body, card = found[1], found[2], false
local unknown = summary == FALSE
if summary and not unknown then card = redis.call('GET', key('p:', cmsgpack.unpack(summary)[1])) end
local whole = unknown or (summary and body and card)
return '\\148' .. (summary or NIL) .. (body or NIL) .. (card or NIL) .. miss(whole, 'a:' .. id)
"""
)

PAGE = _script(
    f"""
local kind, name, part, slot_of_tag = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local owner, list, stale = NIL, kind .. name, 0
if kind == 'home' then
  stale = mark('{PUBLISHED.decode()}')
elseif kind == 'tag' then
  stale = mark(slot_of_tag)
else
  owner = redis.call('GET', 'u:' .. name)
  if owner and owner ~= FALSE then
    local id = cmsgpack.unpack(owner)
    list = key(kind, id)
    -- The user's slot, as slot_of in cache_records.py has it: the shard, and six bits of the time above it.
    local above = math.floor(id / {1 << SEQUENCE_BITS})
    local shard, time = above % {SHARDS}, math.floor(above / {SHARDS}) % {SLOTS_A_SHARD}
    stale = mark(string.format('%d', shard * {SLOTS_A_SHARD} + time))
    if kind == 'favorited' then stale = math.max(stale, mark('{DELETED.decode()}')) end
  end
end
local lease = 'l:' .. kind .. name .. part
if owner == FALSE then return '\\151' .. FALSE .. NIL .. NIL .. NIL .. '\\144' .. '\\144' .. miss(true) end
local page = owner and redis.call('GET', 'l:' .. list .. part)
local epoch, now, ids, authors, count
if page then epoch, now, ids, authors, count = cmsgpack.unpack(page) end
if not page or now < stale or epoch ~= redis.call('HGET', 'marks', 'epoch') then
  return '\\151' .. (owner or NIL) .. NIL .. NIL .. NIL .. '\\144' .. '\\144' .. miss(false, lease)
end
local summaries, all_summaries = all('s:', ids)
local cards, all_cards = all('p:', authors)
return '\\151' .. owner .. cmsgpack.pack(ids) .. cmsgpack.pack(authors) .. cmsgpack.pack(count) .. summaries .. cards
  .. miss(all_summaries and all_cards, lease)
"""
)

COMMENTS = _script(
    """
local id = ARGV[3]
local found = redis.call('GET', 'm:' .. id)
if not found or found == FALSE or found == TRUE then
  return '\\148' .. (found or NIL) .. NIL .. '\\144' .. miss(found, 'm:' .. id)
end
local _, authors = cmsgpack.unpack_one(found)
local cards, whole = all('p:', authors)
-- The record is two values of msgpack, one after the other, and so are its places in the reply.
return '\\148' .. found .. cards .. miss(whole, 'm:' .. id)
"""
)

PROFILE = _script(
    """
local name, card = ARGV[3], false
local owner = redis.call('GET', 'u:' .. name)
if owner and owner ~= FALSE then card = redis.call('GET', key('p:', cmsgpack.unpack(owner))) end
return '\\147' .. (owner or NIL) .. (card or NIL) .. miss(owner == FALSE or card, 'u:' .. name)
"""
)

TAGS = _script(
    f"""
local found = redis.call('GET', 't')
if found then
  local epoch, now, tags = cmsgpack.unpack(found)
  if now >= mark('{TAGGED.decode()}') and epoch == redis.call('HGET', 'marks', 'epoch') then
    return '\\146' .. cmsgpack.pack(tags) .. miss(true)
  end
end
return '\\146' .. NIL .. miss(false, 't')
"""
)

# ARGV: token, the marks that the look brought, the lease's name, then five for each record.
FILL = _script(
    """
local epoch, now = string.match(ARGV[2], '^(.*):(%d+)$')
local same = epoch == redis.call('HGET', 'marks', 'epoch')
local refused = 0
for i = 4, #ARGV, 5 do
  local name, slot, value, milliseconds, stamped = unpack(ARGV, i, i + 4)
  if same and mark(slot) <= tonumber(now) then
    if stamped == '1' then value = cmsgpack.pack(epoch) .. cmsgpack.pack(tonumber(now)) .. value end
    redis.call('SET', name, value, 'PX', milliseconds)
  else
    refused = refused + 1
  end
end
local lease = 'lease:' .. ARGV[3]
if redis.call('GET', lease) == ARGV[1] then redis.call('DEL', lease) end
return refused
"""
)

# ARGV: token, how many slots, the slots, the keys.
INVALIDATE = _script(
    """
marks()
local now, slots = redis.call('HINCRBY', 'marks', 'now', 1), tonumber(ARGV[2])
for i = 3, 2 + slots do redis.call('HSET', 'marks', ARGV[i], now) end
for i = 3 + slots, #ARGV do redis.call('DEL', ARGV[i]) end
return now
"""
)

ALL = (ARTICLE, PAGE, COMMENTS, PROFILE, TAGS, FILL, INVALIDATE)
