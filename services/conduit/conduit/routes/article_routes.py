"""Articles, their lists, and favourites."""

from typing import Annotated

from fastapi import APIRouter, Query

from conduit import articles
from conduit.dependencies import (
    ANYBODY,
    CurrentUser,
    DatabaseDep,
    Filter,
    ListPage,
    MediaDep,
    RateLimitedUser,
    ReadsDep,
    TasksDep,
    Viewer,
)
from conduit.errors import NotFoundError
from conduit.request_bodies import ArticleChangesBody, NewArticleBody
from conduit.routing.compiled_route import CompiledRoute
from conduit.routing.responses import errors
from conduit.schemas import ArticleBody, ArticlesBody

router = APIRouter(prefix="/api/articles", tags=["articles"], route_class=CompiledRoute)


@router.get("", responses=errors(401, 422, 503), openapi_extra=ANYBODY)
def list_articles(
    page: ListPage,
    viewer: Viewer,
    reads: ReadsDep,
    tag: Annotated[Filter, Query(description="Articles with this tag.")] = None,
    author: Annotated[Filter, Query(description="Articles by the user of this name.")] = None,
    favorited: Annotated[Filter, Query(description="Favourites of the user of this name.")] = None,
) -> ArticlesBody:
    """The newest articles, filtered."""
    return ArticlesBody(*reads.articles(page, viewer, tag=tag, author=author, favorited=favorited))


# Declared before "/{slug}", which would match its path.
@router.get("/feed", responses=errors(401, 422, 503))
def get_feed(page: ListPage, user: CurrentUser, reads: ReadsDep) -> ArticlesBody:
    """The newest articles by authors that the signed-in user follows."""
    return ArticlesBody(*reads.feed(page, user))


@router.get("/{slug}", responses=errors(401, 404, 503), openapi_extra=ANYBODY)
def get_article(slug: str, viewer: Viewer, reads: ReadsDep) -> ArticleBody:
    """An article."""
    article = reads.article(articles.id_of(slug), viewer)
    if article is None:
        raise NotFoundError("article")
    return ArticleBody(article)


@router.post("", status_code=201, responses=errors(401, 408, 413, 422, 429, 503))
def publish_article(body: NewArticleBody, user: RateLimitedUser, database: DatabaseDep, tasks: TasksDep) -> ArticleBody:
    """Publish an article."""
    return ArticleBody(articles.publish(database, tasks, user, body.article))


@router.put("/{slug}", responses=errors(401, 403, 404, 408, 413, 422, 429, 503))
def change_article(
    slug: str, body: ArticleChangesBody, user: RateLimitedUser, database: DatabaseDep, media: MediaDep
) -> ArticleBody:
    """Change one's own article."""
    return ArticleBody(articles.change(database, media, user, slug, body.article))


@router.delete("/{slug}", status_code=204, responses=errors(401, 403, 404, 429, 503))
def delete_article(slug: str, user: RateLimitedUser, database: DatabaseDep, tasks: TasksDep) -> None:
    """Delete one's own article."""
    articles.delete(database, tasks, user, slug)


@router.post("/{slug}/favorite", responses=errors(401, 404, 429, 503))
def favorite_article(slug: str, user: RateLimitedUser, database: DatabaseDep, media: MediaDep) -> ArticleBody:
    """Add an article to the favourites."""
    return ArticleBody(articles.mark(database, media, user, slug, favorited=True))


@router.delete("/{slug}/favorite", responses=errors(401, 404, 429, 503))
def unfavorite_article(slug: str, user: RateLimitedUser, database: DatabaseDep, media: MediaDep) -> ArticleBody:
    """Remove an article from the favourites."""
    return ArticleBody(articles.mark(database, media, user, slug, favorited=False))
