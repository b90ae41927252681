"""The cache's Lua scripts: each is one atomic step in Redis, and one round trip.

A get follows the ids that it finds, so that a list with its articles and authors is one call. Ids have 53 bits, which
Lua's numbers hold exactly. The keys are not declared as Redis Cluster requires it: the cache is one server. What the
keys and the version counters are, ``cache_keys`` explains. ``false`` in a reply is nil for the client.
"""

from conduit.adapters.cache_entries import ARTICLE_AT, AUTHOR_AT, LARGEST_VALUE, Absent
from conduit.adapters.cache_keys import DELETED, DEPTH, MOST_MARKS
from conduit.adapters.positions import TIMELINE_DIGITS

# Every script begins with this. ARGV[1] is a token of the caller's own, for the lease.
_COMMON = f"""
local TOKEN = ARGV[1]
local NOT_FOUND, TOO_LARGE = '{Absent.NOT_FOUND.value.decode()}', '{Absent.TOO_LARGE.value.decode()}'
local AUTHOR_AT, ARTICLE_AT = {AUTHOR_AT}, {ARTICLE_AT}

-- The generation, the last version, and when the generation began. A Redis without counters begins a new generation.
local function versions()
  local found = redis.call('HMGET', 'versions', 'generation', 'latest', 'began')
  if found[1] then return unpack(found) end
  local now = redis.call('TIME')[1]
  redis.call('HSET', 'versions', 'generation', TOKEN, 'latest', 0, 'began', now)
  return TOKEN, '0', now
end

-- For how many seconds this generation has been told of changes, and where each server's last one is in its log.
local function reached(began)
  return {{redis.call('TIME')[1] - began, redis.call('HGETALL', 'reached')}}
end

local function version_of(tag) return tonumber(redis.call('HGET', 'versions', tag) or 0) end

-- The ids of an article's comments, their authors', and their fragments, one after the other.
local function comments_of(found)
  local authors_at, ids = cmsgpack.unpack_one(found)
  local comments_at, authors = cmsgpack.unpack_one(found, authors_at)
  return ids, authors, comments_at == -1 and '' or string.sub(found, comments_at + 1)  -- -1 at the end
end

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

local function distinct(ids, first, last)
  local found, seen = {}, {}
  for i = first, last do
    if not seen[ids[i]] then found[#found + 1], seen[ids[i]] = ids[i], true end
  end
  return found
end

local function miss(name)
  local generation, latest, began = versions()
  local lease = 'lease:' .. name
  -- The caller's own lease is there where a call is sent again whose answer was lost with its connection.
  local leased = LEASE_MS == '0' or redis.call('SET', lease, TOKEN, 'NX', 'PX', LEASE_MS)
    or redis.call('GET', lease) == TOKEN
  return {generation, latest, leased and 1 or 0, reached(began)}
end
"""
)

# ARGV[3] is the id. Returns the summary, the body, the author, and the miss.
GET_ARTICLE = (
    _GET
    + """
local id = ARGV[3]
local summary, body = unpack(redis.call('MGET', 'shown:' .. id, 'body:' .. id))
if summary == NOT_FOUND then return {summary, false, false, false} end
local author_id = summary and tonumber(string.sub(summary, AUTHOR_AT + 1, ARTICLE_AT))
local author = author_id and redis.call('GET', key('by:', author_id)) or false  -- nil would end the reply
return {summary, body, author, not (summary and body and author) and miss('shown:' .. id)}
"""
)

# ARGV: kind, name, limit, offset. Returns the list's total, the page's ids with their summaries, its authors' ids with
# their fragments, and the miss. A list that is not known as deep as the page is a miss.
GET_LIST = (
    _GET
    + f"""
local kind, name, limit, offset = unpack(ARGV, 3, 6)
local lease = 'l:' .. kind .. ':' .. name .. '/' .. limit .. '/' .. offset
local function no_page(missed) return {{false, {{{{}}, {{}}}}, {{{{}}, {{}}}}, missed}} end
local whose = name
if kind == 'author' or kind == 'favorited' then
  whose = redis.call('GET', 'u:' .. name)
  if whose == NOT_FOUND then return no_page(false) end
end
local list = whose and redis.call('GET', 'l:' .. kind .. ':' .. whose)
if not list then return no_page(miss(lease)) end
local parts = cmsgpack.unpack(list)
local ids, authors, total = unpack(parts, 3, 5)
if #ids < offset + limit and #ids < total then return no_page(miss(lease)) end
if kind == 'favorited' and not is_current(parts, version_of('{DELETED.decode()}')) then return no_page(miss(lease)) end
local first, last = offset + 1, math.min(offset + limit, #ids)
local page, people = {{}}, distinct(authors, first, last)
for i = first, last do page[#page + 1] = ids[i] end
local summaries, all_summaries = get_all('shown:', page)
local shown, all_shown = get_all('by:', people)
return {{total, {{page, summaries}}, {{people, shown}}, not (all_summaries and all_shown) and miss(lease)}}
"""
)

# ARGV[3] is the article's id. Returns the author's id of each comment, the comments, the authors' ids with their
# fragments, and the miss.
GET_COMMENTS = (
    _GET
    + """
local id = ARGV[3]
local found = redis.call('GET', 'said:' .. id)
if not found then return {{}, false, {{}, {}}, miss('said:' .. id)} end
if found == NOT_FOUND or found == TOO_LARGE then return {{}, found, {{}, {}}, false} end
local _, authors, comments = comments_of(found)
local people = distinct(authors, 1, #authors)
local shown, complete = get_all('by:', people)
return {authors, comments, {people, shown}, not complete and miss('said:' .. id)}
"""
)

# ARGV[3] is the user's name. Returns the user's id, the author's fragment, and the miss.
GET_PROFILE = (
    _GET
    + """
local name = ARGV[3]
local owner = redis.call('GET', 'u:' .. name)
if owner == NOT_FOUND then return {owner, false, false} end
local author = owner and redis.call('GET', 'by:' .. owner)
return {owner, author, not (owner and author) and miss('u:' .. name)}
"""
)

# ARGV: the viewer's id, how many ids of articles, these, and ids of users. Returns those that the viewer has marked.
GET_MARKS = (
    _GET
    + """
local viewer, articles = ARGV[3], ARGV[4]
local found = redis.call('GET', 'v:' .. viewer)
if not found then return {false, {}, {}, miss('v:' .. viewer)} end
if found == TOO_LARGE then return {found, {}, {}, false} end
local favorites, followed = unpack(cmsgpack.unpack(found))

local function among(marks, first, last)
  local wanted, both = {}, {}
  for i = first, last do wanted[tonumber(ARGV[i])] = true end
  for _, id in ipairs(marks) do if wanted[id] then both[#both + 1] = id end end
  return both
end

return {false, among(favorites, 5, 4 + articles), among(followed, 5 + articles, #ARGV), false}
"""
)

# Returns what the miss has of that.
GET_REACHED = _COMMON + "local _, _, began = versions() return reached(began)"

# Returns the tags, and the miss.
GET_TAGS = (
    _GET
    + """
local found = redis.call('GET', 'used')
return {found, not found and miss('used')}
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

# The steps of cache_changes.py. A list is {generation, version, ids, authors, total}, the newest first. Only lists of
# favourites are compared with the first two, but with one form for all lists no step has to tell them apart.
_STEPS = f"""
local DEPTH, LARGEST_VALUE, MOST_MARKS, TIMELINE = {DEPTH}, {LARGEST_VALUE}, {MOST_MARKS}, {TIMELINE_DIGITS}
local steps = {{}}

-- The value, which is left as it is where it is not cached; where it stands for one that is not kept, it is deleted.
local function cached(key)
  local found = redis.call('GET', key)
  if found ~= NOT_FOUND and found ~= TOO_LARGE then return found end
  redis.call('DEL', key)
end

local function replace(key, value) redis.call('SET', key, value, 'KEEPTTL') end

-- Where the id stands in a list, or would stand.
local function place_of(id, ids)
  local place = 1
  while ids[place] and ids[place] > id do place = place + 1 end
  return place
end

-- Of an id beyond the known part of a list, nobody can tell whether the total counts it.
local function is_beyond(place, list) return place > #list[3] and #list[3] < list[5] end

function steps.gain(key, id, author)
  local found = cached(key)
  if not found then return end
  local list = cmsgpack.unpack(found)
  local place = place_of(id, list[3])
  if is_beyond(place, list) then redis.call('DEL', key) return end
  if list[3][place] == id then return end
  table.insert(list[3], place, id)
  table.insert(list[4], place, author)
  list[3][DEPTH + 1], list[4][DEPTH + 1], list[5] = nil, nil, list[5] + 1
  replace(key, cmsgpack.pack(list))
end

function steps.lose(key, id)
  local found = cached(key)
  if not found then return end
  local list = cmsgpack.unpack(found)
  local place = place_of(id, list[3])
  if is_beyond(place, list) then redis.call('DEL', key) return end
  if list[3][place] ~= id then return end
  table.remove(list[3], place)
  table.remove(list[4], place)
  list[5] = list[5] - 1
  replace(key, cmsgpack.pack(list))
end

function steps.count(key, count)
  if cached(key) then redis.call('SETRANGE', key, 0, count) end
end

-- A viewer's favourites, which are in no order, are the first part.
function steps.mark(key, id)
  local found = cached(key)
  if not found then return end
  local marks = cmsgpack.unpack(found)
  for _, other in ipairs(marks[1]) do if other == id then return end end
  marks[1][#marks[1] + 1] = id
  if #marks[1] > MOST_MARKS then redis.call('DEL', key) else replace(key, cmsgpack.pack(marks)) end
end

function steps.unmark(key, id)
  local found = cached(key)
  if not found then return end
  local marks = cmsgpack.unpack(found)
  for i, other in ipairs(marks[1]) do
    if other == id then
      table.remove(marks[1], i)
      replace(key, cmsgpack.pack(marks))
      return
    end
  end
end

function steps.comment(key, id, author, fragment)
  local found = cached(key)
  if not found then return end
  local ids, authors, joined = comments_of(found)
  local place = place_of(id, ids)
  if ids[place] == id then return end
  local fragments = {{}}
  for one in string.gmatch(joined, '[^%z]+') do fragments[#fragments + 1] = one end
  table.insert(ids, place, id)
  table.insert(authors, place, author)
  table.insert(fragments, place, fragment)
  ids[DEPTH + 1], authors[DEPTH + 1], fragments[DEPTH + 1] = nil, nil, nil
  local value = cmsgpack.pack(ids, authors) .. table.concat(fragments, '\\0')
  if #value > LARGEST_VALUE then redis.call('DEL', key) else replace(key, value) end
end

function steps.use(key, tags)
  local found = cached(key)
  if not found then return end
  local used = {{}}
  for _, tag in ipairs(cjson.decode(found)) do used[tag] = true end
  for _, tag in ipairs(tags) do
    if not used[tag] then redis.call('DEL', key) return end
  end
end
"""

# ARGV: how many servers, cache tags and keys; of each server its name and the position that was reached; the tags, the
# keys to delete, and the changes. Positions in a log are texts, of which the later is greater.
INVALIDATE = (
    _COMMON
    + _STEPS
    + """
local first_tag = 5 + 2 * ARGV[2]
local first_key = first_tag + ARGV[3]
local first_change = first_key + ARGV[4]
for i = 5, first_tag - 1, 2 do
  local server, position = ARGV[i], ARGV[i + 1]
  local before = redis.call('HGET', 'reached', server)
  -- After a failover what is cached may have been lost with the former primary.
  if before and string.sub(before, 1, TIMELINE) < string.sub(position, 1, TIMELINE) then
    redis.call('FLUSHDB', 'ASYNC')
    before = nil
  end
  if not before or before < position then redis.call('HSET', 'reached', server, position) end
end
versions()
local number = redis.call('HINCRBY', 'versions', 'latest', 1)
for i = first_tag, first_key - 1 do redis.call('HSET', 'versions', ARGV[i], number) end
for i = first_key, first_change - 1 do redis.call('DEL', ARGV[i]) end
for i = first_change, #ARGV do
  local tag, position, todo = unpack(cmsgpack.unpack(ARGV[i]))
  local is_in_order = position > 0 and position >= version_of('at:' .. tag)
  if is_in_order then redis.call('HSET', 'versions', 'at:' .. tag, string.format('%.0f', position)) end
  for _, step in ipairs(todo) do
    if is_in_order then steps[step[1]](unpack(step, 2)) else redis.call('DEL', step[2]) end
  end
end
return number
"""
)
