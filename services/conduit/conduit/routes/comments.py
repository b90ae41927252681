"""Comments on an article."""

from starlette.requests import Request
from starlette.responses import Response

from conduit import articles, comments, validation
from conduit.errors import NotFoundError
from conduit.http import (
    BEFORE,
    COMMENT_ID,
    COMMENT_LIMIT,
    answer,
    decoded,
    page_of,
    services,
    viewer_of,
    writer_of,
)
from conduit.routing import Endpoint
from conduit.schemas import CommentBody, CommentsBody, NewCommentBody


def show(request: Request) -> Response:
    """The newest comments; those before them with ``before=`` the oldest id seen."""
    article_id = articles.id_of(request.path_params["slug"])
    found = services(request).reads.comments(article_id, viewer_of(request), page_of(request, COMMENT_LIMIT))
    if found is None:
        raise NotFoundError("article")
    return answer(CommentsBody(found))


def add(request: Request, body: bytes) -> Response:
    """Comment on an article."""
    viewer = writer_of(request)
    text = validation.new_comment(decoded(body, NewCommentBody).comment)
    return answer(CommentBody(comments.add(services(request).database, viewer, request.path_params["slug"], text)))


def delete(request: Request) -> Response:
    """Delete one's own comment."""
    viewer = writer_of(request)
    comment_id = COMMENT_ID.read(request.path_params["comment_id"])
    comments.delete(services(request).database, viewer, request.path_params["slug"], comment_id)
    return Response(status_code=204)


_PATH = "/api/articles/{slug}/comments"
ENDPOINTS = (
    Endpoint("GET", _PATH, show, "comments", gives=CommentsBody, parameters=(COMMENT_LIMIT, BEFORE)),
    Endpoint("POST", _PATH, add, "comments", takes=NewCommentBody, gives=CommentBody, signed_in=True),
    Endpoint("DELETE", f"{_PATH}/{{comment_id}}", delete, "comments", status=204, signed_in=True),
)
