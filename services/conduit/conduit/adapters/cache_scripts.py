"""The cache's Lua scripts: each is one atomic step in Redis, and one round trip.

A get follows the ids that it finds, so that a list with its articles and authors is one call. Ids have 53 bits, which
Lua's numbers hold exactly. The keys are not declared as Redis Cluster requires it: the cache is one server. What the
keys and the version counters are, ``cache_keys`` explains. ``false`` in a reply is nil for the client.
"""

from conduit.adapters.cache_entries import Absent
from conduit.adapters.cache_keys import DELETED, PUBLISHED, TAGGED, TAGS_PER_SHARD
from conduit.ids import SEQUENCE_BITS, SHARDS

# Every script begins with this. ARGV[1] is a token of the caller's own, for the lease.
_COMMON = f"""
local TOKEN = ARGV[1]
local NOT_FOUND, TOO_LARGE = '{Absent.NOT_FOUND.value.decode()}', '{Absent.TOO_LARGE.value.decode()}'

-- The generation and the last version. A Redis without counters begins a new generation, and notes when.
local function versions()
  local found = redis.call('HMGET', 'versions', 'generation', 'latest')
  if found[1] then return found[1], found[2] end
  redis.call('HSET', 'versions', 'generation', TOKEN, 'latest', 0, 'began', redis.call('TIME')[1])
  return TOKEN, '0'
end

local function version_of(tag) return tonumber(redis.call('HGET', 'versions', tag) or 0) end

-- Whether a value was kept by this generation, and its cache tag was not invalidated since.
local function is_current(value, invalidated)
  return value[1] == redis.call('HGET', 'versions', 'generation') and value[2] >= invalidated
end
"""

# ARGV[2] is for how many milliseconds a lease is held; with 0 everybody gets one.
_GET = (
    _COMMON
    + """
local LEASE_MS = ARGV[2]

local function key(kind, id) return kind .. string.format('%.0f', id) end

-- The values of these ids, and whether all of them were there.
local function get_all(kind, ids)
  if #ids == 0 then return {}, true end
  local keys, complete = {}, true
  for i, id in ipairs(ids) do keys[i] = key(kind, id) end
  local found = redis.call('MGET', unpack(keys))
  for i = 1, #ids do
    if not found[i] or found[i] == NOT_FOUND then found[i], complete = false, false end
  end
  return found, complete
end

local function miss(name)
  local generation, latest = versions()
  local lease = 'lease:' .. name
  -- The caller's own lease is there where a call is sent again whose answer was lost with its connection.
  local leased = LEASE_MS == '0' or redis.call('SET', lease, TOKEN, 'NX', 'PX', LEASE_MS)
    or redis.call('GET', lease) == TOKEN
  return {generation, latest, leased and 1 or 0}
end
"""
)

# ARGV[3] is the id. Returns the summary, the body, the author, and the miss.
GET_ARTICLE = (
    _GET
    + """
local id = ARGV[3]
local summary, body = unpack(redis.call('MGET', 's:' .. id, 'b:' .. id))
if summary == NOT_FOUND then return {summary, false, false, false} end
local author = summary and redis.call('GET', key('p:', cmsgpack.unpack(summary)[1]))
return {summary, body, author, not (summary and body and author) and miss('s:' .. id)}
"""
)

# ARGV: kind, name, bounds, and the cache tag of the name as a tag.
# Returns the owner's id, the page, its summaries, its authors, and the miss.
GET_LIST = (
    _GET
    + f"""
local kind, name, bounds, tag_of_name = unpack(ARGV, 3, 6)
local owner, whose, invalidated = false, name, 0
if kind == 'home' then
  invalidated = version_of('{PUBLISHED.decode()}')
elseif kind == 'tag' then
  invalidated = version_of(tag_of_name)
else
  owner = redis.call('GET', 'u:' .. name)
  if owner == NOT_FOUND then return {{owner, false, {{}}, {{}}, false}} end
  if owner then
    whose = owner
    -- As cache_tag has it in cache_keys.py: the shard, and six bits of the time above it.
    local above = math.floor(tonumber(owner) / {1 << SEQUENCE_BITS})
    local shard, time = above % {SHARDS}, math.floor(above / {SHARDS}) % {TAGS_PER_SHARD}
    invalidated = version_of(string.format('%d', shard * {TAGS_PER_SHARD} + time))
    if kind == 'favorited' then invalidated = math.max(invalidated, version_of('{DELETED.decode()}')) end
  end
end
local lease = 'l:' .. kind .. ':' .. name .. bounds
local is_named = kind == 'author' or kind == 'favorited'
local page = (owner or not is_named) and redis.call('GET', 'l:' .. kind .. ':' .. whose .. bounds)
local parts = page and cmsgpack.unpack(page)
if not parts or not is_current(parts, invalidated) then return {{owner, false, {{}}, {{}}, miss(lease)}} end
local summaries, all_summaries = get_all('s:', parts[3])
local authors, all_authors = get_all('p:', parts[4])
return {{owner, page, summaries, authors, not (all_summaries and all_authors) and miss(lease)}}
"""
)

# ARGV[3] is the article's id. Returns the authors' ids, the comments, the authors, and the miss.
GET_COMMENTS = (
    _GET
    + """
local id = ARGV[3]
local found = redis.call('GET', 'm:' .. id)
if not found then return {false, false, {}, miss('m:' .. id)} end
if found == NOT_FOUND or found == TOO_LARGE then return {false, found, {}, false} end
local comments_at, author_ids = cmsgpack.unpack_one(found)
local authors, complete = get_all('p:', author_ids)
local ids, comments = string.sub(found, 1, comments_at), string.sub(found, comments_at + 1)
return {ids, comments, authors, not complete and miss('m:' .. id)}
"""
)

# ARGV[3] is the user's name. Returns the user's id, the author snippet, and the miss.
GET_PROFILE = (
    _GET
    + """
local name = ARGV[3]
local owner = redis.call('GET', 'u:' .. name)
if owner == NOT_FOUND then return {owner, false, false} end
local author = owner and redis.call('GET', 'p:' .. owner)
return {owner, author, not (owner and author) and miss('u:' .. name)}
"""
)

# Returns the tags, and the miss.
GET_TAGS = (
    _GET
    + f"""
local found = redis.call('GET', 't')
if found and is_current(cmsgpack.unpack(found), version_of('{TAGGED.decode()}')) then return {{found, false}} end
return {{false, miss('t')}}
"""
)

# ARGV: the miss's generation, version and name; then key, cache tag, value and milliseconds of each entry. Keeps what
# no invalidation has outdated, gives the lease back, and returns how many entries were refused.
SET = (
    _COMMON
    + """
local generation, version, name = unpack(ARGV, 2, 4)
local same = generation == redis.call('HGET', 'versions', 'generation')
local refused = 0
for i = 5, #ARGV, 4 do
  local key, tag, value, milliseconds = unpack(ARGV, i, i + 3)
  if same and version_of(tag) <= tonumber(version) then
    redis.call('SET', key, value, 'PX', milliseconds)
  else
    refused = refused + 1
  end
end
local lease = 'lease:' .. name
if redis.call('GET', lease) == TOKEN then redis.call('DEL', lease) end
return refused
"""
)

# ARGV: the number of cache tags, the tags, and the keys to delete.
INVALIDATE = (
    _COMMON
    + """
versions()
local number, tags = redis.call('HINCRBY', 'versions', 'latest', 1), tonumber(ARGV[2])
for i = 3, 2 + tags do redis.call('HSET', 'versions', ARGV[i], number) end
for i = 3 + tags, #ARGV do redis.call('DEL', ARGV[i]) end
return number
"""
)
