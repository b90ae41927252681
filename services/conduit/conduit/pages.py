"""The web pages: read and compressed once at start, and served from memory.

They are served in front of the router, on the event loop: a dictionary lookup, no thread, no query. An asset has its
content's hash in its name, so browsers may cache it forever. They revalidate the HTML each time, and get a 304 until it
changes.

The directory holds ``layout.html`` (the frame of every page), ``pages/<page>.html`` (its content, with the title first)
and ``assets/`` (a module named like each page, the modules that they import by bare names, style sheet, icon).
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

Header = tuple[bytes, bytes]

_PAGES = {
    "/": "home",
    "/feed": "feed",
    "/login": "sign-in",
    "/register": "sign-up",
    "/editor": "editor",
    "/settings": "settings",
}
# The second segment of such a path is an article's slug or a username, which the page's module reads.
_PAGES_ABOUT = {"article": "article", "profile": "profile", "editor": "editor"}
_NOT_FOUND = "not-found"
_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_HTML = b"text/html; charset=utf-8"
_FOREVER = b"public, max-age=31536000, immutable"
_ASK_AGAIN = b"no-cache"
_HASH_LENGTH = 12
_IMPORT = re.compile(r'^(?:import|export)\b[^;"]*"([^"]+)";', re.MULTILINE)
_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)
_TITLE = re.compile(r"\A<title>([^<]+)</title>\n")
_BLANK = re.compile(r"{{([^}]*)}}")


class _StaticRoute:
    """The route of all files in metrics and logs: one for each file would be of no use."""

    path = "static"


_ROUTE = _StaticRoute()


class PagesError(ValueError):
    """The directory of the pages is invalid; the text says which file and why."""


@dataclass(frozen=True)
class File:
    """The responses of one path: plain and compressed, each as headers and body, and the headers of a 304."""

    tag: bytes
    plain: tuple[list[Header], bytes]
    compressed: tuple[list[Header], bytes]
    unchanged: list[Header]


class Pages:
    """Middleware: serves the files, and passes every other request on to ``app``."""

    def __init__(self, app: ASGIApp, files: "Files") -> None:
        self._app = app
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        file = self._files.find(scope["path"]) if scope["type"] == "http" else None
        if file is None:
            await self._app(scope, receive, send)
            return
        method: str = scope["method"]
        if method not in ("GET", "HEAD"):
            headers = [(b"allow", b"GET, HEAD"), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 405, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        scope["route"] = _ROUTE
        asked = _asked(scope)
        if file.tag in asked.known or b"*" in asked.known:
            status, headers, body = 304, file.unchanged, b""
        else:
            status = 200
            headers, body = file.compressed if asked.gzip else file.plain
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


@dataclass(frozen=True)
class Files:
    """Files by whole path, and by the first segment of paths such as ``/article/<slug>``."""

    by_path: Mapping[str, File]
    by_prefix: Mapping[str, File]
    not_found: File | None

    def find(self, path: str) -> File | None:
        """The file at ``path``."""
        file = self.by_path.get(path)
        if file is not None:
            return file
        kind, _, about = path[1:].partition("/")
        return self.by_prefix.get(kind) if about and "/" not in about else None

    def has(self, path: str) -> bool:
        return self.find(path) is not None

    def missing(self, scope: Scope) -> tuple[list[Header], bytes] | None:
        """Headers and body of the page "not found"; None for a client that does not accept HTML."""
        if self.not_found is None or not any(k == b"accept" and b"text/html" in v for k, v in scope["headers"]):
            return None
        return self.not_found.compressed if _asked(scope).gzip else self.not_found.plain


NO_FILES = Files({}, {}, None)


def read(directory: Path) -> Files:
    """Read all files of the pages. Raises PagesError at start rather than let a visitor find a broken page."""
    assets = {path.name: path.read_bytes() for path in sorted((directory / "assets").glob("*.*"))}
    urls = {name: _asset_url(name, content) for name, content in assets.items()}
    by_path = {urls[name]: _asset(name, content) for name, content in assets.items()}
    imports = {name: _imports(name, content.decode(), assets) for name, content in assets.items() if _is_module(name)}
    layout = _text(directory / "layout.html")

    def page(name: str) -> File:
        return _page(name, layout, _text(directory / "pages" / f"{name}.html"), urls, imports)

    pages = {name: page(name) for name in {*_PAGES.values(), *_PAGES_ABOUT.values(), _NOT_FOUND}}
    by_path |= {path: pages[name] for path, name in _PAGES.items()}
    return Files(by_path, {kind: pages[name] for kind, name in _PAGES_ABOUT.items()}, pages[_NOT_FOUND])


# Putting the pages together ---------------------------------------------------------------------------------


def _page(name: str, layout: str, text: str, urls: Mapping[str, str], imports: Mapping[str, set[str]]) -> File:
    title = _TITLE.match(text)
    if title is None:
        raise PagesError(f"pages/{name}.html must begin with a line <title>…</title>")
    module = f"{name}.js"
    if module not in urls:
        raise PagesError(f"pages/{name}.html needs assets/{module}, and it is not there")
    # All direct and indirect imports of the page's module, so that the browser fetches them in one round trip.
    preloads = sorted(_closure(module, imports) - {module})
    bare = {asset.removesuffix(".js"): url for asset, url in urls.items() if _is_module(asset)}
    blanks = {
        "title": title.group(1),
        "content": text[title.end() :].strip(),
        "import map": json.dumps({"imports": bare}, separators=(",", ":")),
        "preloads": "\n".join(f'<link rel="modulepreload" href="{urls[asset]}">' for asset in preloads),
        "module": urls[module],
    }
    html = _filled(layout, blanks | {f"asset {asset}": url for asset, url in urls.items()}, f"layout.html for {name}")
    return _file(html.encode(), _HTML, _ASK_AGAIN, _protections(html))


def _filled(layout: str, blanks: Mapping[str, str], where: str) -> str:
    unknown = set(_BLANK.findall(layout)) - set(blanks)
    if unknown:
        raise PagesError(f"{where} has an unknown placeholder: {', '.join(sorted(unknown))}")
    return _BLANK.sub(lambda blank: blanks[blank.group(1)], layout)


def _imports(name: str, source: str, assets: Iterable[str]) -> set[str]:
    """The files that a module imports. Raises PagesError for a missing one."""
    found = {f"{bare}.js" for bare in _IMPORT.findall(source)}
    if missing := found - set(assets):
        raise PagesError(f"assets/{name} imports a file that is not in assets/: {', '.join(sorted(missing))}")
    return found


def _closure(module: str, imports: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [module]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += imports[one]
    return found


def _protections(html: str) -> list[Header]:
    """Headers that allow scripts and styles from this site alone, inline ones by hash, and no string as HTML."""
    inline = " ".join(f"'sha256-{_sha256_base64(script)}'" for script in _INLINE_SCRIPT.findall(html))
    # blob: shows a cover before it is uploaded, and saves a report, which only fetch() with the token can read.
    policy = (
        f"default-src 'self'; script-src 'self' {inline}; img-src 'self' data: blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
    return [(b"content-security-policy", policy.encode()), (b"referrer-policy", b"same-origin")]


def _asset_url(name: str, content: bytes) -> str:
    stem, _, suffix = name.rpartition(".")
    return f"/assets/{stem}.{hashlib.sha256(content).hexdigest()[:_HASH_LENGTH]}.{suffix}"


def _asset(name: str, content: bytes) -> File:
    kind = _TYPES.get(Path(name).suffix)
    if kind is None:
        raise PagesError(f"assets/{name} is of an unknown type; known types are {', '.join(sorted(_TYPES))}")
    return _file(content, kind, _FOREVER, [])


def _file(content: bytes, kind: bytes, cached: bytes, more: list[Header]) -> File:
    tag = b'"%s"' % hashlib.sha256(content).hexdigest()[:32].encode()
    # Weak, because one tag stands for both encodings of the same text.
    unchanged = [(b"cache-control", cached), (b"etag", b"W/" + tag), (b"vary", b"accept-encoding"), *more]
    headers = [*unchanged, (b"content-type", kind)]
    # Without a timestamp, so that two boxes send the same bytes.
    compressed = gzip.compress(content, 9, mtime=0)
    return File(
        tag,
        ([*headers, (b"content-length", b"%d" % len(content))], content),
        (
            [*headers, (b"content-encoding", b"gzip"), (b"content-length", b"%d" % len(compressed))],
            compressed,
        ),
        unchanged,
    )


def _is_module(name: str) -> bool:
    return name.endswith(".js")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise PagesError(f"{path} is not there") from error


def _sha256_base64(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# Request headers --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    gzip: bool
    known: tuple[bytes, ...]


def _asked(scope: Scope) -> _Asked:
    encodings, tags = b"", b""
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            encodings = value
        elif name == b"if-none-match":
            tags = value
    known = tuple(tag.strip().removeprefix(b"W/") for tag in tags.split(b",")) if tags else ()
    return _Asked(_takes_gzip(encodings), known)


@lru_cache(maxsize=64)
def _takes_gzip(header: bytes) -> bool:
    """Whether an Accept-Encoding header has gzip or * with a weight above 0. Cached: browsers send few variants."""
    weights: dict[bytes, float] = {}
    for part in header.lower().split(b","):
        name, _, weight = part.partition(b";")
        match = re.fullmatch(rb"\s*q=([0-9.]{1,5})\s*", weight)
        try:
            weights[name.strip()] = float(match.group(1)) if match else 1.0
        except ValueError:
            weights[name.strip()] = 0.0
    return weights.get(b"gzip", weights.get(b"*", 0.0)) > 0
