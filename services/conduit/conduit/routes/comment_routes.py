"""Comments on an article."""

from typing import Annotated

from fastapi import APIRouter, Depends

from conduit import articles, comments
from conduit.dependencies import (
    ANYBODY,
    MAX_LIMIT,
    Before,
    DatabaseDep,
    Limit,
    RateLimitedUser,
    ReadsDep,
    RowId,
    Viewer,
    page,
)
from conduit.errors import NotFoundError
from conduit.ports import Page
from conduit.request_bodies import NewCommentBody
from conduit.routing.compiled_route import CompiledRoute
from conduit.routing.responses import errors
from conduit.schemas import CommentBody, CommentsBody

router = APIRouter(
    prefix="/api/articles/{slug}/comments",
    tags=["comments"],
    route_class=CompiledRoute,
)


def comment_page(limit: Limit = MAX_LIMIT, before: Before = None) -> Page:
    """A page of comments, by keyset pagination only."""
    return page(limit, 0, before)


@router.get("", responses=errors(401, 404, 422, 503), openapi_extra=ANYBODY)
def get_comments(
    slug: str, page: Annotated[Page, Depends(comment_page)], viewer: Viewer, reads: ReadsDep
) -> CommentsBody:
    """The newest comments. For older ones, set ``before`` to the oldest id seen."""
    found = reads.comments(articles.id_of(slug), viewer, page)
    if found is None:
        raise NotFoundError("article")
    return CommentsBody(found)


@router.post("", status_code=201, responses=errors(401, 404, 408, 413, 422, 429, 503))
def add_comment(slug: str, body: NewCommentBody, user: RateLimitedUser, database: DatabaseDep) -> CommentBody:
    """Comment on an article."""
    return CommentBody(comments.add(database, user, slug, body.comment.body))


@router.delete("/{comment_id}", status_code=204, responses=errors(401, 403, 404, 422, 429, 503))
def delete_comment(slug: str, comment_id: RowId, user: RateLimitedUser, database: DatabaseDep) -> None:
    """Delete one's own comment."""
    comments.delete(database, user, slug, comment_id)
