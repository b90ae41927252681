"""Helpers of the suites about the cache: an article in every list, and reads that count their calls."""

from collections.abc import Callable
from typing import Any

from conduit import articles, comments, ids, profiles
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.adapters.reads_sql import SqlReads
from conduit.ports import Media, Page, Reads, Tasks
from conduit.request_bodies import NewArticle
from conduit_testing.client import fresh
from conduit_testing.decoded_reads import DecodedReads
from conduit_testing.deployments import SignUp

PAGE = Page(20, 0, ids.MAX_ID + 1)
NOWHERE: dict[str, Any] = {"tag": None, "author": None, "favorited": None}


class Slow(SqlReads):
    """The reads behind the cache. Counts its calls, and calls ``meanwhile`` between reading and returning."""

    def __init__(self, database: PostgresDatabase, media: Media) -> None:
        super().__init__(database, media)
        self.asked: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def _after(self, what: str, answer: Any) -> Any:
        self.asked.append(what)
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return answer

    def shared_article(self, *args: Any) -> Any:
        return self._after("article", super().shared_article(*args))

    def shared_articles(self, *args: Any, **kwargs: Any) -> Any:
        return self._after("list", super().shared_articles(*args, **kwargs))

    def summaries(self, *args: Any) -> Any:
        return self._after("summaries", super().summaries(*args))

    def shared_comments(self, *args: Any) -> Any:
        return self._after("comments", super().shared_comments(*args))

    def people(self, *args: Any) -> Any:
        return self._after("people", super().people(*args))

    def shared_profile(self, *args: Any) -> Any:
        return self._after("profile", super().shared_profile(*args))

    def all_marks(self, *args: Any) -> Any:
        return self._after("all marks", super().all_marks(*args))

    def own_marks(self, *args: Any) -> Any:
        return self._after("own marks", super().own_marks(*args))

    def shared_tags(self) -> Any:
        return self._after("tags", super().shared_tags())


class Story:
    """An author with an article that has a tag, a comment and a favourite."""

    def __init__(self, database: PostgresDatabase, tasks: Tasks, media: Media, sign_up: SignUp) -> None:
        self.name, self.fan_name, self.tag = fresh(), fresh(), fresh("tag")
        self.author, self.fan = sign_up(self.name), sign_up(self.fan_name)
        for title, tags in (("zero", []), ("one", [self.tag])):
            self.slug = articles.publish(
                database, tasks, self.author, NewArticle(title=title, description="d", body="b", tagList=tags)
            ).slug
        self.article_id = articles.id_of(self.slug)
        comments.add(database, self.fan, self.slug, "first")
        articles.mark(database, media, self.fan, self.slug, favorited=True)
        profiles.follow(database, self.fan, self.name, following=True)

    def looks(self, shared: Reads, viewer: int | None = None) -> dict[str, Callable[[], Any]]:
        reads = DecodedReads(shared)
        return {
            "article": lambda: reads.article(self.article_id, viewer),
            "home": lambda: reads.articles(PAGE, viewer, **NOWHERE),
            "by tag": lambda: reads.articles(PAGE, viewer, **NOWHERE | {"tag": self.tag}),
            "by author": lambda: reads.articles(PAGE, viewer, **NOWHERE | {"author": self.name}),
            "favourites": lambda: reads.articles(PAGE, viewer, **NOWHERE | {"favorited": self.fan_name}),
            "comments": lambda: reads.comments(self.article_id, viewer, PAGE),
            "profile": lambda: reads.profile(self.name, viewer),
            "tags": reads.tags,
            "no article": lambda: reads.article(self.author, viewer),
            "no comments": lambda: reads.comments(self.author, viewer, PAGE),
            "nobody": lambda: reads.profile(self.tag, viewer),
            "nobody's": lambda: reads.articles(PAGE, viewer, **NOWHERE | {"author": self.tag}),
        }
