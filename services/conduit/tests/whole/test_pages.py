"""The web pages: served from memory, compressed, with hashed names and security headers, beside the API."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import httpx
import psycopg
import pytest
from prometheus_client import REGISTRY

from conduit.pages import NO_FILES, Files, PagesError, read
from conduit_testing.client import Api, errors
from conduit_testing.deployments import NewDatabase, deployed_on_one_server
from conduit_testing.waiting import until

WEB = Path(__file__).resolve().parents[3] / "web"
PAGES = ["/", "/feed", "/login", "/register", "/editor", "/settings", "/article/a-1", "/profile/jo", "/editor/a-1"]
_ASSET = re.compile(r'"(/assets/[^"]+)"')
_IMPORTED = re.compile(r'from "([^"]+)";')
_HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def http(new_database: NewDatabase) -> Iterator[httpx.Client]:
    with (
        deployed_on_one_server(new_database, web_dir=WEB) as deployment,
        httpx.Client(base_url=deployment.base_url, headers={"Accept-Encoding": "identity"}) as http,
    ):
        yield http


@pytest.fixture(scope="module")
def assets(http: httpx.Client) -> set[str]:
    """Every asset that a page refers to."""
    return set(chain.from_iterable(_ASSET.findall(http.get(path).text) for path in PAGES))


def _import_map(html: str) -> dict[str, str]:
    found = re.search(r'<script type="importmap">(.*?)</script>', html)
    assert found
    imports: dict[str, str] = json.loads(found.group(1))["imports"]
    return imports


# The response of each path ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_html_that_browsers_revalidate(http: httpx.Client, path: str) -> None:
    page = http.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    assert page.text.startswith("<!doctype html>")
    assert "{{" not in page.text
    again = http.get(path, headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == page.headers["etag"]
    assert again.headers["vary"] == "accept-encoding, Origin"


def test_every_asset_has_its_hash_in_its_name_and_may_be_cached_forever(http: httpx.Client, assets: set[str]) -> None:
    assert {path.rpartition(".")[2] for path in assets} == {"css", "js", "svg"}
    for path in assets:
        asset = http.get(path)
        assert asset.status_code == 200
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert asset.headers["x-content-type-options"] == "nosniff"
        assert path.split(".")[1] == hashlib.sha256(asset.content).hexdigest()[:12]
        assert http.get(path, headers={"If-None-Match": asset.headers["etag"]}).status_code == 304
    kinds = {path.rpartition(".")[2]: http.get(path).headers["content-type"] for path in assets}
    assert kinds == {
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
    }


def test_text_is_compressed_for_clients_that_accept_gzip(http: httpx.Client, assets: set[str]) -> None:
    for path in (*PAGES, *assets):
        plain = http.get(path)
        assert "content-encoding" not in plain.headers
        with http.stream("GET", path, headers={"Accept-Encoding": "br, gzip;q=0.8"}) as compressed:
            raw = b"".join(compressed.iter_raw())
        assert compressed.headers["content-encoding"] == "gzip"
        assert int(compressed.headers["content-length"]) == len(raw)
        assert gzip.decompress(raw) == plain.content
        assert compressed.headers["etag"] == plain.headers["etag"]
        assert compressed.headers["vary"] == plain.headers["vary"] == "accept-encoding, Origin"


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [("gzip", True), ("*", True), ("GZIP", True), ("deflate, gzip;q=1.0", True), ("gzip;q=0", False), ("", False),
     ("br", False), ("*;q=0", False), ("gzip;q=0, *", False), ("gzip;q=0.0.1", False)],
)  # fmt: skip
def test_the_weights_of_accept_encoding_are_respected(http: httpx.Client, accepted: str, compressed: bool) -> None:
    answer = http.get("/", headers={"Accept-Encoding": accepted})
    assert ("content-encoding" in answer.headers) == compressed
    assert answer.text.startswith("<!doctype html>")


@pytest.mark.parametrize("path", ["/", "/article/a-1", "an asset"])
def test_head_has_the_headers_of_get_and_no_body(http: httpx.Client, assets: set[str], path: str) -> None:
    if path == "an asset":
        path = min(assets)
    get, head = http.get(path), http.head(path)
    assert head.status_code == 200
    assert head.content == b""
    own = {"content-length", "content-type", "etag", "cache-control", "vary"}
    assert {name: head.headers[name] for name in own} == {name: get.headers[name] for name in own}


@pytest.mark.parametrize(
    "known",
    ['"other", {}', "W/{}", "{},", "*", '"a" , {} , "b"'],
    ids=["among others", "weak", "comma", "any", "spaces"],
)
def test_an_etag_is_recognized_in_every_form(http: httpx.Client, known: str) -> None:
    tag = http.get("/").headers["etag"].removeprefix("W/")
    assert http.get("/", headers={"If-None-Match": known.format(tag)}).status_code == 304
    assert http.get("/", headers={"If-None-Match": f'"{tag[1:-2]}x"'}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_page_is_only_read(http: httpx.Client, method: str) -> None:
    refused = http.request(method, "/")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD"


# Not found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/article", "/article/", "/article/a/b", "/profile/", "/feed/x", "/assets/site.0.css", "/login/"],
)
def test_an_unknown_path_is_a_page_for_browsers(http: httpx.Client, path: str) -> None:
    page = http.get(path, headers=_HTML)
    assert page.status_code == 404
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "nothing at this address" in page.text
    assert errors(http.get(path)) == {"body": ["Not Found"]}


def test_the_api_answers_404_as_json_even_for_browsers(http: httpx.Client) -> None:
    for path in ("/api/nowhere", "/api/articles/a-1", "/api/"):
        missing = http.get(path, headers=_HTML)
        assert missing.status_code == 404
        assert errors(missing)
    assert http.get("/api/tags", headers=_HTML).json() == {"tags": []}
    assert http.get("/health", headers=_HTML).json()["backends"]["pages"].startswith("from memory")


@pytest.mark.parametrize(
    "path", ["/assets/../layout.html", "/assets/%2e%2e/layout.html", "/layout.html", "/pages/home.html"]
)
def test_only_what_a_page_names_is_served(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 404


# The content of a page --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_its_own_scripts_and_no_others(http: httpx.Client, path: str) -> None:
    page = http.get(path)
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert "unsafe" not in page.headers["content-security-policy"]
    inline = re.findall(r"<script(?![^>]*src=)[^>]*>(.*?)</script>", page.text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in inline]
    assert policy["script-src"].split() == ["'self'", *(f"'sha256-{one}'" for one in hashes)]
    assert not re.search(r"<style|\sstyle=|\son\w+=", page.text)
    # Nothing is loaded from another host: every URL is a path.
    assert re.findall(r'(?:src|href)="(?!/|#|")([^"]+)"', page.text) == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_preloads_all_its_imports(http: httpx.Client, path: str) -> None:
    html = http.get(path).text
    imports = _import_map(html)
    entry = re.search(r'<script type="module" src="([^"]+)">', html)
    assert entry
    waiting, reached = [entry.group(1)], set()
    while waiting:
        url = waiting.pop()
        reached.add(url)
        waiting += [imports[bare] for bare in _IMPORTED.findall(http.get(url).text) if imports[bare] not in reached]
    preloaded = re.findall(r'<link rel="modulepreload" href="([^"]+)">', html)
    assert sorted(preloaded) == sorted(reached - {entry.group(1)})


def test_no_module_parses_text_as_html(http: httpx.Client, assets: set[str]) -> None:
    for path in assets:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", http.get(path).text)


# Metrics, load shedding and the API -------------------------------------------------------------------------


def test_all_files_are_one_route_in_the_metrics(http: httpx.Client, assets: set[str]) -> None:
    labels = {"method": "GET", "route": "static", "status": "200"}
    before = REGISTRY.get_sample_value("conduit_request_seconds_count", labels) or 0.0
    for path in (*PAGES, *assets):
        http.get(path)
    http.get("/tags")
    assert REGISTRY.get_sample_value("conduit_request_seconds_count", labels) == before + len(PAGES) + len(assets)
    routes = {
        sample.labels["route"]
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "conduit_request_seconds_count"
    }
    assert not [route for route in routes if route.startswith(("/assets", "/article", "/profile"))]
    assert "queries" in http.get("/").headers["server-timing"]


def test_pages_are_served_while_the_api_sheds_load(new_database: NewDatabase) -> None:
    with (
        deployed_on_one_server(new_database, web_dir=WEB, max_in_flight=1) as deployment,
        httpx.Client(base_url=deployment.base_url, timeout=20) as http,
        psycopg.connect(deployment.databases[0]) as lock,
        ThreadPoolExecutor(1) as threads,
    ):
        lock.execute("LOCK TABLE articles")
        waiting = threads.submit(httpx.get, f"{deployment.base_url}/api/articles", timeout=20)
        # Asked of PostgreSQL: asking the app would take the one place from the request that is to wait in it.
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted"
        until(lambda: lock.execute(waits).fetchone(), "the request that waits did not arrive", within=10, pause=0.02)
        refused = http.get("/api/tags")
        assert refused.status_code == 503
        assert "under way" in errors(refused)["body"][0]
        assert http.get("/").text.startswith("<!doctype html>")
        assert {http.get(path).status_code for path in _ASSET.findall(http.get("/").text)} == {200}
        lock.rollback()
        assert waiting.result().status_code == 200


def test_without_a_directory_only_the_api_is_served(new_database: NewDatabase) -> None:
    with (
        deployed_on_one_server(new_database) as deployment,
        httpx.Client(base_url=deployment.base_url, headers=_HTML) as http,
    ):
        assert errors(http.get("/")) == {"body": ["Not Found"]}
        assert http.get("/health").json()["backends"]["pages"] == "not served"
        assert Api(http).get("/tags").status_code == 200


# Broken pages -----------------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the pages' files, to break."""
    for file in (file for file in WEB.rglob("*") if file.is_file()):
        copy = tmp_path / file.relative_to(WEB)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return tmp_path


def _append(name: str, text: str) -> Callable[[Path], object]:
    return lambda copied: (copied / name).write_text((copied / name).read_text() + text)


BROKEN_PAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a page is gone": (lambda copied: (copied / "pages/feed.html").unlink(), "pages/feed.html is not there"),
    "a page's module is gone": (lambda copied: (copied / "assets/feed.js").unlink(), "needs assets/feed.js"),
    "the frame is gone": (lambda copied: (copied / "layout.html").unlink(), "layout.html is not there"),
    "an import leads nowhere": (
        _append("assets/dom.js", '\nimport "nowhere";\n'),
        "imports a file that is not in assets/: nowhere",
    ),
    "a blank is not known": (_append("layout.html", "{{asset nothing.css}}"), "asset nothing.css"),
    "a type is not served": (
        lambda copied: (copied / "assets/font.woff2").write_bytes(b"x"),
        "font.woff2 is of an unknown type",
    ),
    "a title is missing": (
        lambda copied: (copied / "pages/feed.html").write_text("<p>"),
        "must begin with a line <title>",
    ),
}


@pytest.mark.parametrize("what", BROKEN_PAGES)
def test_a_broken_page_fails_the_start_and_is_named(copied: Path, what: str) -> None:
    damage, message = BROKEN_PAGES[what]
    damage(copied)
    with pytest.raises(PagesError, match=re.escape(message)):
        read(copied)


def test_a_changed_module_is_the_only_renamed_asset(copied: Path) -> None:
    before = read(copied)
    (copied / "assets/dom.js").write_text((copied / "assets/dom.js").read_text() + "\n// Changed.\n")
    after = read(copied)
    renamed = _named(before) ^ _named(after)
    assert {path.split(".")[0] for path in renamed} == {"/assets/dom"}
    assert before.by_path["/"].tag != after.by_path["/"].tag
    assert NO_FILES.by_path == {}


def _named(files: Files) -> set[str]:
    return {path for path in files.by_path if path.startswith("/assets/")}
