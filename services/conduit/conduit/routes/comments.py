"""Comments on an article."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from conduit import articles, comments, validation
from conduit.errors import NotFoundError
from conduit.http import (
    Before,
    Body,
    Limit,
    answer,
    decoded,
    describe,
    page_of,
    services,
    viewer_of,
    writer_of,
)
from conduit.ids import MAX_ID
from conduit.schemas import CommentBody, CommentsBody, NewCommentBody

router = APIRouter(prefix="/articles/{slug}/comments", tags=["comments"])


@router.get("", openapi_extra=describe(None, CommentsBody, open_to_all=True))
def show(request: Request, slug: str, limit: Limit = 100, before: Before = None) -> Response:
    """The newest comments; those before them with ``before=`` the oldest id seen."""
    found = services(request).reads.comments(articles.id_of(slug), viewer_of(request), page_of(limit, 0, before))
    if found is None:
        raise NotFoundError("article")
    return answer(CommentsBody(found))


@router.post("", openapi_extra=describe(NewCommentBody, CommentBody, open_to_all=False))
def add(request: Request, slug: str, body: Body) -> Response:
    viewer = writer_of(request)
    text = validation.new_comment(decoded(body, NewCommentBody).comment)
    return answer(CommentBody(comments.add(services(request).database, viewer, slug, text)))


@router.delete("/{comment_id}", status_code=204, openapi_extra=describe(status=204, open_to_all=False))
def delete(request: Request, slug: str, comment_id: Annotated[int, Path(ge=0, le=MAX_ID)]) -> Response:
    viewer = writer_of(request)
    comments.delete(services(request).database, viewer, slug, comment_id)
    return Response(status_code=204)
