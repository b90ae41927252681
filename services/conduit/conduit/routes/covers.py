"""Covers of articles: uploading one, taking it away, and its files."""

from starlette.requests import Request
from starlette.responses import Response

from conduit import covers
from conduit.errors import NotFoundError
from conduit.http import answer, services, writer_of
from conduit.media_names import is_cover_file
from conduit.routing import Endpoint, File, Upload
from conduit.schemas import ArticleBody

MAX_UPLOAD_BYTES = 5_000_000
_FOREVER = "public, max-age=31536000, immutable"


def admit(request: Request) -> int:
    """The author of the article, counted against their limit, before the image is read."""
    viewer = writer_of(request)
    covers.check_author(services(request).database, viewer, request.path_params["slug"])
    return viewer


def replace(request: Request, viewer: int, upload: bytes) -> Response:
    """Give one's own article a cover: a PNG, JPEG or WebP image of at most 8 megapixels."""
    use = services(request)
    slug = request.path_params["slug"]
    return answer(ArticleBody(covers.replace(use.database, use.media, use.tasks, viewer, slug, upload=upload)))


def remove(request: Request) -> Response:
    """Take the cover of one's own article away."""
    viewer = writer_of(request)
    use = services(request)
    return answer(ArticleBody(covers.remove(use.database, use.media, viewer, request.path_params["slug"])))


def show(request: Request) -> Response:
    """A cover's file. What stands under a name never changes, so it may be kept forever."""
    name = request.path_params["name"]
    content = services(request).media.get(f"public/{name}") if is_cover_file(name) else None
    if content is None:
        raise NotFoundError("file")
    headers = {"Cache-Control": _FOREVER, "ETag": f'"{name.removesuffix(".webp")}"'}
    if headers["ETag"] in request.headers.get("if-none-match", "") or request.headers.get("if-none-match") == "*":
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="image/webp", headers=headers)


_PATH = "/api/articles/{slug}/cover"
# The bytes decide what it is, whatever their type is said to be.
_UPLOAD = Upload(("image/png", "image/jpeg", "image/webp", "application/octet-stream"), MAX_UPLOAD_BYTES, admit)
ENDPOINTS = (
    Endpoint("PUT", _PATH, replace, "covers", takes=_UPLOAD, gives=ArticleBody, signed_in=True),
    Endpoint("DELETE", _PATH, remove, "covers", gives=ArticleBody, signed_in=True),
    Endpoint("GET", "/media/{name}", show, "covers", gives=File("image/webp")),
)
