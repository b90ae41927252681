"""What the edge keeps, for how long, under which key, and what it never keeps."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl, quote

import httpx
import pytest

from conduit import pages
from conduit.ids import id_from_slug
from tests.edge.conftest import ROOT, Edge, docker
from tests.edge.origin import FOREVER, Answer, Asked, GoneError, Origin, as_the_app

pytestmark = pytest.mark.docker

# Seconds that an answer of the API is shown for: NGINX counts whole ones, so that one is up to two, and one of grace.
NEVER_LONGER_THAN = 3.0
PAGES_NEVER_LONGER_THAN = 10.0


def at_a_seconds_start() -> None:
    """The edge's seconds are the clock's; what a test says of them holds wherever in one it began."""
    time.sleep(1.05 - time.time() % 1)


def is_away(_asked: Asked) -> Answer:
    raise GoneError


# For how long --------------------------------------------------------------------------------------------------


def test_an_answer_of_the_api_is_kept_for_a_second(edge: Edge, origin: Origin, word: str) -> None:
    path = f"/api/tags?{word}=1"
    at_a_seconds_start()
    first, second = edge.get(path), edge.get(path)
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
    assert first.content == second.content
    assert len(origin.asked) == 1
    time.sleep(NEVER_LONGER_THAN)
    assert edge.get(path).headers["x-cache"] == "EXPIRED"
    assert len(origin.asked) == 2


def test_a_second_old_it_is_shown_while_the_new_one_is_fetched(edge: Edge, origin: Origin, word: str) -> None:
    path = f"/api/articles?tag={word}"
    origin.answer = lambda _: Answer("old")
    at_a_seconds_start()
    edge.get(path)
    origin.answer = lambda _: Answer("new")
    time.sleep(2.1)
    while_fetched = edge.get(path)
    assert (while_fetched.headers["x-cache"], while_fetched.text) == ("STALE", "old")
    assert len(origin.asked_for(word)) == 2
    time.sleep(0.2)
    assert (edge.get(path).headers["x-cache"], edge.get(path).text) == ("HIT", "new")


@pytest.mark.parametrize("idle", [NEVER_LONGER_THAN, NEVER_LONGER_THAN + 2])
def test_what_nobody_asked_for_in_a_while_is_never_shown_as_it_was(
    edge: Edge, origin: Origin, article: int, idle: float
) -> None:
    origin.answer = lambda _: Answer("old")
    edge.get(f"/api/articles/x-{article}")
    origin.answer = lambda _: Answer("new")
    time.sleep(idle)
    assert edge.get(f"/api/articles/x-{article}").text == "new"


def test_no_answer_of_the_api_is_older_than_three_seconds_however_it_is_asked_for(
    edge: Edge, origin: Origin, word: str
) -> None:
    origin.answer = lambda _: Answer(str(time.time()))
    rng = random.Random(4)
    until = time.monotonic() + 8
    oldest = 0.0
    while time.monotonic() < until:
        oldest = max(oldest, time.time() - float(edge.get(f"/api/tags?{word}").text))
        time.sleep(rng.choice((0.01, 0.1, 0.7, 1.3, 2.3)))
    assert 0.5 < oldest < NEVER_LONGER_THAN + 0.2


def test_an_article_that_is_not_there_is_remembered_as_shortly(edge: Edge, origin: Origin, article: int) -> None:
    origin.answer = lambda _: Answer('{"errors":{"article":["not found"]}}', 404)
    at_a_seconds_start()
    assert [edge.get(f"/api/articles/{article}").headers["x-cache"] for _ in range(2)] == ["MISS", "HIT"]
    origin.answer = lambda _: Answer("here")
    time.sleep(NEVER_LONGER_THAN)
    assert edge.get(f"/api/articles/{article}").text == "here"


def test_what_is_named_by_its_content_is_kept_for_good(edge: Edge, origin: Origin, word: str) -> None:
    for path in (f"/assets/{word}.0123456789ab.js", f"/media/{word}-small.webp"):
        first = edge.get(path)
        time.sleep(2.1)
        second = edge.get(f"{path}?whatever")
        assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
        assert second.headers["cache-control"] == FOREVER
        assert "age" not in first.headers
        assert second.headers["age"] in {"2", "3"}
        assert len(origin.asked_for(path)) == 1


def test_pages_are_kept_for_seconds_and_browsers_ask_again(edge: Edge, origin: Origin) -> None:
    edge.get("/login")
    again = edge.get("/login")
    assert again.headers["x-cache"] == "HIT"
    assert again.headers["cache-control"] == "no-cache"
    known = edge.get("/login", If_None_Match='W/"page"')
    assert (known.status_code, known.content, known.headers["cache-control"]) == (304, b"", "no-cache")
    assert known.headers["etag"] == 'W/"page"'
    assert len(origin.asked_for("login")) <= 1
    origin.answer = lambda _: Answer("a new one", headers={"Cache-Control": "no-cache", "ETag": 'W/"new"'})
    time.sleep(PAGES_NEVER_LONGER_THAN)
    assert edge.get("/login", If_None_Match='W/"page"').text == "a new one"


def test_browsers_keep_nothing_of_the_api(edge: Edge, origin: Origin, word: str) -> None:
    for _ in range(2):
        assert edge.get(f"/api/tags?{word}").headers["cache-control"] == "no-store"


# Under which key -------------------------------------------------------------------------------------------------


def test_the_order_of_a_querys_parameters_makes_no_difference(edge: Edge, origin: Origin, word: str) -> None:
    at_a_seconds_start()
    bodies = {
        edge.get(f"/api/articles?{query}").text
        for query in (f"tag={word}&limit=5&offset=9", f"offset=9&limit=5&tag={word}", f"limit=5&tag={word}&offset=9")
    }
    assert len(bodies) == 1
    assert [asked.path for asked in origin.asked] == [f"/api/articles?limit=5&offset=9&tag={word}"]


def test_a_query_that_the_app_reads_otherwise_has_another_key(edge: Edge, origin: Origin, word: str) -> None:
    """Whatever the query, the app is asked for what it would have read without the edge."""
    rng = random.Random(17)
    names = ("limit", "tag", "Limit", "%6Cimit", "t+g", "", "limit%5B")
    for _ in range(60):
        pairs = [f"{rng.choice(names)}={rng.choice('12')}" for _ in range(rng.randint(1, 4))]
        pairs += rng.choice(([], [""], ["limit"], ["&"]))
        rng.shuffle(pairs)
        query = "&".join([*pairs, f"z={word}"])
        seen = edge.get(f"/api/articles?{query}").json()["path"].partition("?")[2]
        assert _as_read(seen) == _as_read(query), query


def _as_read(query: str) -> dict[str, str]:
    """As Starlette reads a query: the last of a name counts."""
    return dict(parse_qsl(query, keep_blank_values=True))


def test_paths_that_look_alike_are_different(edge: Edge, origin: Origin, word: str) -> None:
    pairs = [
        (f"/api/profiles/{word}%3Fa?b", f"/api/profiles/{word}?a?b"),
        (f"/api/profiles/{word}%20x", f"/api/profiles/{word}+x"),
        (f"/api/profiles/{word}%252F", f"/api/profiles/{word}%2F"),
    ]
    for one, other in pairs:
        assert edge.get(one).text != edge.get(other).text
    assert edge.get(f"/api/profiles/%C3%A9{word}").json()["path"] == f"/api/profiles/%C3%A9{word}"


def test_a_path_that_leads_out_of_itself_is_the_apps_to_refuse(edge: Edge, origin: Origin, word: str) -> None:
    origin.answer = lambda asked: Answer(asked.path, 404)
    for path in ("/api/articles/..%2f..", "/media/%2e%2e", f"/article/{word}%2F..%2F{word}", "/api/%2E%2e/feed"):
        answer = edge.get(path)
        assert (answer.status_code, answer.text, answer.headers["x-cache"]) == (404, path, "BYPASS")


def test_no_path_brings_a_line_into_the_request_to_the_origin(edge: Edge, origin: Origin, word: str) -> None:
    line = "%0D%0AX-Evil:%201"
    for path in (f"/api/profiles/{word}{line}", f"/api/articles/{word}{line}-7", f"/article/{word}{line}"):
        edge.get(path)
    assert origin.asked
    assert not [asked for asked in origin.asked if "x-evil" in asked.headers]


@pytest.mark.parametrize(
    "slug",
    ["x-{}", "{}", "an-other-title-{}", "-{}", "a%20b-{}", "%C3%A9-{}", "x-0{}", "x%0A-{}", "feed-{}"],
)  # fmt: skip
def test_every_slug_of_an_article_is_one_key(edge: Edge, origin: Origin, article: int, slug: str) -> None:
    at_a_seconds_start()
    kept = edge.get(f"/api/articles/first-{article}").text
    assert edge.get(f"/api/articles/{slug.format(article)}").text == kept
    comments = edge.get(f"/api/articles/first-{article}/comments?limit=21").text
    assert edge.get(f"/api/articles/{slug.format(article)}/comments?limit=21").text == comments
    assert [asked.path for asked in origin.asked] == [
        f"/api/articles/{article}", f"/api/articles/{article}/comments?limit=21"
    ]  # fmt: skip


def test_the_edge_reads_a_slug_as_the_app_does(edge: Edge, origin: Origin) -> None:
    rng = random.Random(23)
    alphabet = ("7", "0", "42", "-", "a", "_", "é", " ", "\n", "123456789012345", ".", "٣")
    slugs = ["x-123\n", "x-12345678901234567", "1234567890123456", "x--5", "5-x", "0", "00", "x-000", "x5", "x-5\r"]
    slugs += ["".join(rng.choices(alphabet, k=rng.randint(1, 6))) for _ in range(150)]
    for slug in slugs:
        if slug in {".", ".."}:
            continue  # a client resolves these itself
        quoted = quote(slug, safe="")
        asked = edge.get(f"/api/articles/{quoted}").json()["path"].removeprefix("/api/articles/")
        found = id_from_slug(slug)
        if found is None and asked.isdigit() and not slug.isdigit():
            assert id_from_slug(asked) is None, slug  # an id that no article can have
        elif found is None:
            assert asked == quoted, slug
        else:
            assert asked == str(found), slug


def test_pages_are_the_apps_and_one_copy_serves_all_addresses_of_a_shell(edge: Edge, origin: Origin, word: str) -> None:
    files = pages.read(ROOT / "services/web")
    for path in (path for path in files.by_path if not path.startswith("/assets/")):
        edge.get(path)
        again = edge.get(f"{path}?tag={word}")
        assert (again.headers["x-cache"], again.headers["cache-control"]) == ("HIT", "no-cache"), path
    for kind in files.by_prefix:
        edge.get(f"/{kind}/{word}")
        assert edge.get(f"/{kind}/another-{word}").headers["x-cache"] == "HIT", kind
        for path in (f"/{kind}/", f"/{kind}/{word}/x", f"/{kind}/{word}%2Fx", f"//{kind}/{word}"):
            assert edge.get(path).headers["x-cache"] == "BYPASS", path
    for path in ("/health", "/ready", f"/{word}", "/robots.txt"):
        assert edge.get(path).headers["x-cache"] == "BYPASS", path


def test_the_key_does_not_depend_on_what_a_browser_takes(edge: Edge, origin: Origin, word: str) -> None:
    path = f"/assets/{word}.js"
    shown = set()
    for takes in ("gzip", "gzip, deflate, br", "br", "identity", "", "gzip;q=0"):
        answer = edge.get(path, Accept_Encoding=takes, Accept_Language=takes or "x", Cookie=f"a={takes}")
        packed = takes.startswith("gzip") and "q=0" not in takes
        assert answer.headers.get("content-encoding") == ("gzip" if packed else None), takes
        assert answer.headers["vary"] == "Accept-Encoding"
        shown.add(answer.text)
    assert len(shown) == 1
    assert [asked.headers["accept-encoding"] for asked in origin.asked] == ["gzip"]


def test_a_head_is_answered_from_what_a_get_brought(edge: Edge, origin: Origin, word: str) -> None:
    got = edge.get(f"/media/{word}.webp")
    head = httpx.head(f"{edge.url}/media/{word}.webp")
    assert (head.headers["x-cache"], head.content) == ("HIT", b"")
    assert head.headers["etag"] == got.headers["etag"]
    httpx.head(f"{edge.url}/media/{word}-2.webp")
    assert edge.get(f"/media/{word}-2.webp").headers["x-cache"] == "HIT"
    assert [asked.method for asked in origin.asked] == ["GET", "GET"]


def test_parts_of_a_file_are_cut_from_the_copy(edge: Edge, origin: Origin, word: str) -> None:
    whole = edge.get(f"/media/{word}.webp", Accept_Encoding="identity").text
    part = edge.get(f"/media/{word}.webp", Range="bytes=1-3", Accept_Encoding="identity")
    # What is kept is packed, and of a text that is unpacked on its way there are no parts.
    assert (part.status_code, part.text) in {(200, whole), (206, whole[1:4])}
    assert len(origin.asked) == 1


# One at a time ---------------------------------------------------------------------------------------------------


def _crowd(edge: Edge, path: str, count: int = 50) -> list[httpx.Response]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: edge.get(path), range(count)))


@pytest.mark.parametrize(
    ("path", "idle"),
    [
        ("/api/articles/x-{}", 0), ("/api/articles/x-{}", NEVER_LONGER_THAN),
        ("/api/tags?{}", 0), ("/api/tags?{}", NEVER_LONGER_THAN), ("/article/{}", PAGES_NEVER_LONGER_THAN),
    ],
)  # fmt: skip
def test_a_crowd_makes_one_request(edge: Edge, origin: Origin, article: int, path: str, idle: float) -> None:
    """Also where it was never asked for before, and where nobody asked for it in so many seconds."""
    path = path.format(article)
    if idle:
        edge.get(path)
        time.sleep(idle)

    def slowly(asked: Asked) -> Answer:
        time.sleep(0.3)
        return Answer(headers={} if asked.path.startswith("/api/") else {"Cache-Control": "no-cache"})

    origin.answer = slowly
    origin.asked.clear()
    at_a_seconds_start()
    answers = _crowd(edge, path)
    assert {answer.status_code for answer in answers} == {200}
    assert len(origin.asked) == 1


# With the origin away --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["gone", "refusing"])
def test_with_the_origin_away_what_is_kept_is_shown(edge: Edge, origin: Origin, article: int, trouble: str) -> None:
    paths = (f"/api/articles/x-{article}", f"/api/articles?tag={article}", "/feed", f"/media/{article}.webp")
    shown = {path: edge.get(path).text for path in paths}
    origin.answer = is_away if trouble == "gone" else lambda _: Answer("busy", 503, {"Retry-After": "1"})
    time.sleep(PAGES_NEVER_LONGER_THAN + 1)
    for path in paths:
        answer = edge.get(path)
        assert (answer.status_code, answer.text) == (200, shown[path])
        assert answer.headers["x-cache"] == ("HIT" if "/media/" in path else "STALE")
        assert int(answer.headers["age"]) >= PAGES_NEVER_LONGER_THAN
    origin.answer = as_the_app
    for path in paths:
        assert edge.get(path).headers["x-cache"] == ("HIT" if "/media/" in path else "EXPIRED")


def test_with_the_origin_away_and_nothing_kept_the_edge_says_so_as_the_api_does(
    edge: Edge, origin: Origin, article: int
) -> None:
    origin.answer = is_away
    for path in (f"/api/articles/x-{article}", f"/media/{article}.webp", "/health"):
        answer = edge.get(path)
        assert answer.status_code == 503
        assert answer.json()["errors"]["body"]
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-request-id"]
    signed_in = edge.get(f"/api/articles/x-{article}", Authorization="Token x")
    assert (signed_in.status_code, signed_in.headers["retry-after"]) == (503, "1")


def test_what_the_origin_says_of_its_trouble_gets_through(edge: Edge, origin: Origin, article: int) -> None:
    origin.answer = lambda _: Answer("busy, it says", 503, {"Retry-After": "7"})
    answer = edge.get(f"/api/articles/x-{article}")
    assert (answer.status_code, answer.headers["retry-after"], answer.text) == (503, "7", "busy, it says")


# Never -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=401), Answer(status=403), Answer(status=422), Answer(status=429, headers={"Retry-After": "9"}),
        Answer(status=500), Answer(status=503), Answer(status=301, headers={"Location": "/"}),
        Answer(headers={"Set-Cookie": "a=b"}), Answer(headers={"Cache-Control": "private, max-age=60"}),
        Answer(headers={"Cache-Control": "no-store"}), Answer(headers={"Cache-Control": "max-age=9"}),
        Answer(headers={"X-Accel-Expires": "60", "Set-Cookie": "a=b"}),
    ],
    ids=str,
)  # fmt: skip
def test_is_not_kept(edge: Edge, origin: Origin, article: int, answer: Answer) -> None:
    origin.answer = lambda _: answer
    for number in (1, 2, 3):
        assert edge.get(f"/api/articles/{article}").status_code == answer.status
        assert len(origin.asked) == number


def test_who_signs_in_gets_past_what_is_kept_and_leaves_nothing(edge: Edge, origin: Origin, article: int) -> None:
    for path in (f"/api/articles/x-{article}", f"/api/tags?{article}", f"/media/{article}.webp", "/settings"):
        for token in ("Token jo", "Token ann", "Bearer x", "nonsense"):
            answer = edge.get(path, Authorization=token)
            assert (answer.json()["viewer"], answer.headers["x-cache"]) == (token, "BYPASS"), path
            assert "age" not in answer.headers
        assert edge.get(path).json()["viewer"] is None
        assert edge.get(path, Authorization="Token jo").json()["viewer"] == "Token jo"
        assert edge.get(path).json()["viewer"] is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_go_through_as_they_are(edge: Edge, origin: Origin, article: int, method: str) -> None:
    path = f"/api/articles/x-0{article}?b=2&a=1"
    edge.get(path)
    origin.asked.clear()
    for _ in range(2):
        answer = httpx.request(method, f"{edge.url}{path}", content=b"what is sent")
        assert answer.headers["x-cache"] == "BYPASS"
    assert [(asked.method, asked.path, asked.body) for asked in origin.asked] == [(method, path, b"what is sent")] * 2


def test_no_answer_brings_anothers_request_id_or_address(edge: Edge, origin: Origin, word: str) -> None:
    ids = [edge.get(f"/api/tags?{word}").headers["x-request-id"] for _ in range(3)]
    assert len(set(ids)) == 3
    assert edge.get(f"/api/tags?{word}", X_Request_Id="mine").headers["x-request-id"] == "mine"
    edge.get("/health", X_Forwarded_For="203.0.113.9", X_Edge_Mark="x")
    assert origin.asked[-1].headers["x-forwarded-for"] == edge.gateway


def test_a_body_larger_than_any_that_the_app_takes_is_refused(edge: Edge, origin: Origin, article: int) -> None:
    answer = httpx.put(f"{edge.url}/api/articles/x-{article}/cover", content=b"x" * 5_000_001, timeout=15)
    assert answer.status_code == 413
    assert answer.json()["errors"]["body"]
    assert httpx.put(f"{edge.url}/api/articles/x-{article}/cover", content=b"x" * 5_000_000).status_code == 200


def _kilobytes_in_tmp(edge: Edge) -> int:
    tmp = "/tmp"  # noqa: S108 - the container's own
    return int(docker("exec", edge.container, "df", "--output=used", "-k", tmp).split()[-1])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/health", "/feed", "/assets/{}.js", "/api/tags?{}", "/api/articles/x-{}"])
def test_no_body_waits_at_the_edge_and_reading_with_one_is_not_kept(
    edge: Edge, origin: Origin, article: int, method: str, path: str
) -> None:
    path, size, before = path.format(article), 4_000_000, _kilobytes_in_tmp(edge)
    held = []

    def content() -> Iterator[bytes]:
        for _ in range(4):
            yield b"x" * (size // 4)
        held.append(_kilobytes_in_tmp(edge))

    headers = {"Content-Length": str(size)}
    for _ in range(2):
        answer = httpx.request(method, f"{edge.url}{path}", content=content(), headers=headers)
        assert (answer.status_code, answer.headers["x-cache"]) == (200, "BYPASS")
    assert [len(asked.body) for asked in origin.asked_for(path)] == [size] * 2
    assert max(held) - before < 1_000


def test_reading_that_says_it_has_no_body_is_kept(edge: Edge, origin: Origin, article: int) -> None:
    path = f"/api/articles/x-{article}"
    at_a_seconds_start()
    assert [edge.get(path, Content_Length="0").headers["x-cache"] for _ in range(2)] == ["MISS", "HIT"]


def test_what_cannot_be_read_is_told_in_the_apis_shape_and_long_tokens_get_through(edge: Edge, origin: Origin) -> None:
    assert edge.get("/api/user", Authorization=f"Token {'x' * 20_000}").status_code == 200
    refused = edge.get("/api/user", Authorization=f"Token {'x' * 40_000}")
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["body"])
