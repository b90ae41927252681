"""Articles, their lists, and marking them as favourites."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from conduit import articles, validation
from conduit.errors import NotFoundError
from conduit.http import (
    Before,
    Body,
    Limit,
    Offset,
    answer,
    decoded,
    describe,
    page_of,
    services,
    signed_in,
    viewer_of,
    writer_of,
)
from conduit.schemas import ArticleBody, ArticleChangesBody, ArticlesBody, NewArticleBody

router = APIRouter(prefix="/articles", tags=["articles"])
Filter = Annotated[str | None, Query(max_length=200)]


@router.get("", openapi_extra=describe(None, ArticlesBody, open_to_all=True))
def list_all(
    request: Request,
    tag: Filter = None,
    author: Filter = None,
    favorited: Filter = None,
    limit: Limit = 20,
    offset: Offset = 0,
    before: Before = None,
) -> Response:
    page = page_of(limit, offset, before)
    found = services(request).reads.articles(page, viewer_of(request), tag=tag, author=author, favorited=favorited)
    return answer(ArticlesBody(*found))


@router.get("/feed", openapi_extra=describe(None, ArticlesBody, open_to_all=False))
def feed(request: Request, limit: Limit = 20, offset: Offset = 0, before: Before = None) -> Response:
    viewer = signed_in(request)
    return answer(ArticlesBody(*services(request).reads.feed(page_of(limit, offset, before), viewer)))


@router.post("", status_code=201, openapi_extra=describe(NewArticleBody, ArticleBody, 201, open_to_all=False))
def publish(request: Request, body: Body) -> Response:
    viewer = writer_of(request)
    draft = validation.new_article(decoded(body, NewArticleBody).article)
    return answer(ArticleBody(articles.publish(services(request).database, viewer, draft)), 201)


@router.get("/{slug}", openapi_extra=describe(None, ArticleBody, open_to_all=True))
def show(request: Request, slug: str) -> Response:
    article = services(request).reads.article(articles.id_of(slug), viewer_of(request))
    if article is None:
        raise NotFoundError("article")
    return answer(ArticleBody(article))


@router.put("/{slug}", openapi_extra=describe(ArticleChangesBody, ArticleBody, open_to_all=False))
def change(request: Request, slug: str, body: Body) -> Response:
    viewer = writer_of(request)
    changes = validation.article_changes(decoded(body, ArticleChangesBody).article)
    return answer(ArticleBody(articles.change(services(request).database, viewer, slug, changes)))


@router.delete("/{slug}", status_code=204, openapi_extra=describe(status=204, open_to_all=False))
def delete(request: Request, slug: str) -> Response:
    viewer = writer_of(request)
    articles.delete(services(request).database, viewer, slug)
    return Response(status_code=204)


@router.post("/{slug}/favorite", openapi_extra=describe(None, ArticleBody, open_to_all=False))
def favorite(request: Request, slug: str) -> Response:
    viewer = writer_of(request)
    return answer(ArticleBody(articles.mark(services(request).database, viewer, slug, favorited=True)))


@router.delete("/{slug}/favorite", openapi_extra=describe(None, ArticleBody, open_to_all=False))
def unfavorite(request: Request, slug: str) -> Response:
    viewer = writer_of(request)
    return answer(ArticleBody(articles.mark(services(request).database, viewer, slug, favorited=False)))
