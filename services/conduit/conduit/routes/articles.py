"""Articles, their lists, and marking them as favourites."""

from starlette.requests import Request
from starlette.responses import Response

from conduit import articles, validation
from conduit.errors import NotFoundError
from conduit.http import (
    BEFORE,
    LIMIT,
    OFFSET,
    Filter,
    answer,
    decoded,
    page_of,
    services,
    signed_in,
    viewer_of,
    writer_of,
)
from conduit.routing import Endpoint
from conduit.schemas import ArticleBody, ArticleChangesBody, ArticlesBody, NewArticleBody

TAG = Filter("tag", "Articles with this tag.")
AUTHOR = Filter("author", "Articles by the user of this name.")
FAVORITED = Filter("favorited", "Favourites of the user of this name.")


def list_all(request: Request) -> Response:
    """The newest articles, filtered."""
    found = services(request).reads.articles(
        page_of(request),
        viewer_of(request),
        tag=TAG.of(request),
        author=AUTHOR.of(request),
        favorited=FAVORITED.of(request),
    )
    return answer(ArticlesBody(*found))


def feed(request: Request) -> Response:
    """The newest articles by those whom the signed-in user follows."""
    viewer = signed_in(request)
    return answer(ArticlesBody(*services(request).reads.feed(page_of(request), viewer)))


def publish(request: Request, body: bytes) -> Response:
    """Publish an article."""
    viewer = writer_of(request)
    draft = validation.new_article(decoded(body, NewArticleBody).article)
    use = services(request)
    return answer(ArticleBody(articles.publish(use.database, use.tasks, viewer, draft)), 201)


def show(request: Request) -> Response:
    """An article."""
    article_id = articles.id_of(request.path_params["slug"])
    article = services(request).reads.article(article_id, viewer_of(request))
    if article is None:
        raise NotFoundError("article")
    return answer(ArticleBody(article))


def change(request: Request, body: bytes) -> Response:
    """Change one's own article."""
    viewer = writer_of(request)
    changes = validation.article_changes(decoded(body, ArticleChangesBody).article)
    slug = request.path_params["slug"]
    use = services(request)
    return answer(ArticleBody(articles.change(use.database, use.media, viewer, slug, changes)))


def delete(request: Request) -> Response:
    """Delete one's own article."""
    viewer = writer_of(request)
    articles.delete(services(request).database, viewer, request.path_params["slug"])
    return Response(status_code=204)


def favorite(request: Request) -> Response:
    """Make an article a favourite."""
    return _mark(request, favorited=True)


def unfavorite(request: Request) -> Response:
    """Make an article a favourite no longer."""
    return _mark(request, favorited=False)


def _mark(request: Request, *, favorited: bool) -> Response:
    viewer = writer_of(request)
    slug = request.path_params["slug"]
    use = services(request)
    return answer(ArticleBody(articles.mark(use.database, use.media, viewer, slug, favorited=favorited)))


_PAGE = (LIMIT, OFFSET, BEFORE)
_SLUG = "/api/articles/{slug}"
# The feed's path would read as a slug's to the route after it, so it comes before.
ENDPOINTS = (
    Endpoint(
        "GET", "/api/articles", list_all, "articles", gives=ArticlesBody, parameters=(TAG, AUTHOR, FAVORITED, *_PAGE)
    ),
    Endpoint("GET", "/api/articles/feed", feed, "articles", gives=ArticlesBody, parameters=_PAGE, signed_in=True),
    Endpoint("GET", _SLUG, show, "articles", gives=ArticleBody),
    Endpoint(
        "POST",
        "/api/articles",
        publish,
        "articles",
        takes=NewArticleBody,
        gives=ArticleBody,
        status=201,
        signed_in=True,
    ),
    Endpoint("PUT", _SLUG, change, "articles", takes=ArticleChangesBody, gives=ArticleBody, signed_in=True),
    Endpoint("DELETE", _SLUG, delete, "articles", status=204, signed_in=True),
    Endpoint("POST", f"{_SLUG}/favorite", favorite, "articles", gives=ArticleBody, signed_in=True),
    Endpoint("DELETE", f"{_SLUG}/favorite", unfavorite, "articles", gives=ArticleBody, signed_in=True),
)
