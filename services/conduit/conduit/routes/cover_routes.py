"""Covers of articles: uploading, removing, and their files."""

from fastapi import APIRouter, Request, Response

from conduit import covers
from conduit.dependencies import (
    DatabaseDep,
    MediaDep,
    RateLimitedUser,
    TasksDep,
    ThreadsDep,
    UploadsDep,
)
from conduit.errors import NotFoundError
from conduit.media_names import is_cover_file
from conduit.routing.body import read_body
from conduit.routing.compiled_route import CompiledRoute
from conduit.routing.responses import errors, file_of
from conduit.schemas import ArticleBody

MAX_UPLOAD_BYTES = 5_000_000
_FOREVER = "public, max-age=31536000, immutable"
# The content decides which format it is, whatever the Content-Type says.
_ANY_IMAGE = {
    "requestBody": {
        "required": True,
        "content": {kind: {} for kind in ("image/png", "image/jpeg", "image/webp", "application/octet-stream")},
    }
}

router = APIRouter(tags=["covers"], route_class=CompiledRoute)
# Uploads wait for slots and bytes on the event loop, so their routes are FastAPI's own.
async_router = APIRouter(tags=["covers"])


@async_router.put(
    "/api/articles/{slug}/cover",
    responses=errors(401, 403, 404, 408, 413, 422, 429, 503),
    openapi_extra=_ANY_IMAGE,
)
async def replace_cover(
    slug: str,
    request: Request,
    user: RateLimitedUser,
    database: DatabaseDep,
    media: MediaDep,
    tasks: TasksDep,
    threads: ThreadsDep,
    uploads: UploadsDep,
) -> ArticleBody:
    """Give one's own article a cover: a PNG, JPEG or WebP image of at most 24 megapixels."""
    # Before a byte of the image is read.
    await threads.run(covers.check_author, database, user, slug)
    async with uploads.memory(user):
        upload = await read_body(request)
        async with uploads.processor():
            article = await threads.run(covers.replace, database, media, tasks, user, slug, upload=upload)
    return ArticleBody(article)


@router.delete("/api/articles/{slug}/cover", responses=errors(401, 403, 404, 429, 503))
def remove_cover(
    slug: str, user: RateLimitedUser, database: DatabaseDep, media: MediaDep, tasks: TasksDep
) -> ArticleBody:
    """Remove the cover of one's own article."""
    return ArticleBody(covers.remove(database, media, tasks, user, slug))


@router.get(
    "/media/{name}",
    response_class=Response,
    responses=file_of("image/webp") | {304: {"description": "Not modified"}} | errors(404, 503),
)
def get_cover_file(name: str, request: Request, media: MediaDep) -> Response:
    """A cover's file. A file of a given name never changes, so it may be cached forever."""
    content = media.get(f"public/{name}") if is_cover_file(name) else None
    if content is None:
        raise NotFoundError("file")
    headers = {"Cache-Control": _FOREVER, "ETag": f'"{name.removesuffix(".webp")}"'}
    if headers["ETag"] in request.headers.get("if-none-match", "") or request.headers.get("if-none-match") == "*":
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="image/webp", headers=headers)
