"""Under which key the edge keeps an answer: what is one thing to the app is one to the edge, and nothing else is."""

import random
import re
import zlib
from urllib.parse import parse_qsl, quote

import httpx
import pytest
from fastapi import FastAPI

from conduit import pages
from conduit.ids import id_from_slug
from conduit.main import ROUTERS
from tests.edge.conftest import ROOT, Edge, at_a_seconds_start
from tests.edge.origin import Answer, Origin

pytestmark = pytest.mark.docker


def _known() -> dict[str, set[str]]:
    """The parameters of each read, as the app's description has them."""
    app = FastAPI()
    for router in ROUTERS:
        app.include_router(router)
    return {
        path: {one["name"] for one in what["get"].get("parameters", ()) if one["in"] == "query"}
        for path, what in app.openapi()["paths"].items()
        if "get" in what
    }


KNOWN = _known()


def test_the_order_of_a_querys_parameters_makes_no_difference(edge: Edge, origin: Origin, word: str) -> None:
    at_a_seconds_start()
    bodies = {
        edge.get(f"/api/articles?{query}").text
        for query in (f"tag={word}&limit=5&offset=9", f"offset=9&limit=5&tag={word}", f"limit=5&tag={word}&offset=9")
    }
    assert len(bodies) == 1
    assert [asked.path for asked in origin.asked] == [f"/api/articles?limit=5&offset=9&tag={word}"]


def test_a_query_that_the_app_reads_otherwise_has_another_key(edge: Edge, origin: Origin, word: str) -> None:
    """Whatever the query, the app is asked for what it would have read without the edge, of what it knows."""
    rng = random.Random(17)
    names = ("limit", "tag", "Limit", "%6Cimit", "t+g", "", "limit%5B")
    for _ in range(60):
        pairs = [f"{rng.choice(names)}={rng.choice('12')}" for _ in range(rng.randint(1, 4))]
        pairs += rng.choice(([], [""], ["limit"], ["&"]))
        rng.shuffle(pairs)
        query = "&".join([*pairs, f"author={word}"])
        seen = edge.get(f"/api/articles?{query}").json()["path"].partition("?")[2]
        assert _as_read(seen) == _as_read(query), query


def _as_read(query: str) -> dict[str, str]:
    """As the app reads a query: of those with a value, the last of a name counts. There are no others."""
    return {name: value for name, value in parse_qsl(query) if name in KNOWN["/api/articles"]}


def test_the_edge_knows_the_parameters_of_each_read_that_the_app_knows() -> None:
    template = (ROOT / "infra/nginx/cdn.conf.j2").read_text()
    (said,) = re.findall(r"map \$uri \$parameters \{\n(.*?)\n    \}", template, re.DOTALL)
    known = dict(re.findall(r'^ +"?(~?[^ "]+)"? "(.*)";$', said, re.MULTILINE))
    assert known.pop("default") == ""
    for path, names in KNOWN.items():
        uri = re.sub(r"\{.*?\}", "x-1", path)
        found = [told for at, told in known.items() if at == uri or (at[0] == "~" and re.search(at[1:-2] + "$", uri))]
        assert {*" ".join(found).split()} == names, path


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("articles/x-{}", "utm_source={n}"),
        ("articles/x-{}", "{n}"),
        ("articles/x-{}", "author={n}"),
        ("articles/x-{}/comments", "limit=5&tag={n}"),
        ("articles/x-{}/comments", "%6Cimit=5&x={n}"),
        ("articles/x-{}/comments", "limit={n}&limit=5"),
        ("articles/x-{}/comments", "limit=5&before=&x={n}"),
        ("articles/x-{}/comments", "limit=5&=&%ff={n}&&"),
        ("profiles/x{}", "limit={n}"),
        ("tags", "tag={n}"),
    ],
)
def test_a_parameter_that_makes_no_other_answer_gets_nobody_past_what_is_kept(
    edge: Edge, origin: Origin, path: str, query: str
) -> None:
    at_a_seconds_start()
    path = path.format(zlib.crc32(query.encode()))
    for number in range(5):
        assert edge.get(f"/api/{path}?{query.format(n=number)}").status_code == 200
    assert len(origin.asked) == 1


@pytest.mark.parametrize(
    "headers", [{"If_Match": '"x"'}, {"If_Unmodified_Since": "Thu, 01 Jan 2015 00:00:00 GMT"}, {"If_Match": "*"}]
)
@pytest.mark.parametrize("path", ["/api/articles?author={}", "/article/{}"])
def test_what_a_reader_has_in_mind_is_the_apps_to_compare(
    edge: Edge, origin: Origin, word: str, path: str, headers: dict[str, str]
) -> None:
    """It says nothing of that at any stage: NGINX would, by what it keeps."""
    path = path.format(word)
    edge.get(path)
    answer = edge.get(path, **headers)
    assert (answer.status_code, answer.headers["x-cache"]) == (200, "BYPASS")


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
