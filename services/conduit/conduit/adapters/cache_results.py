"""What a get of the cache returns, by kind of read.

``miss`` is None for a complete hit: ``value()`` then is the answer. Otherwise the other fields are what was found.
"""

from typing import NamedTuple, Protocol, TypeVar

from conduit.adapters.cache_entries import Absent, CachedArticle
from conduit.schemas import Encoded


class Miss(NamedTuple):
    """What a get that missed leaves for the set: the versions before the database was read, and the lease.

    Who ``holds_lease`` asks the database; anybody else waits for that caller, whose lease has this ``name``. What is
    read must have ``reached`` these positions in the logs of its servers: a replica may not know of a change yet that
    the cache was told of. None: the cache may have forgotten one.
    """

    name: bytes
    token: bytes
    generation: bytes
    version: bytes
    holds_lease: bool
    reached: dict[str, str] | None


Value_co = TypeVar("Value_co", covariant=True)


class Found(Protocol[Value_co]):
    @property
    def miss(self) -> Miss | None: ...

    def value(self) -> Value_co: ...


class ArticleParts(NamedTuple):
    """``body`` is TOO_LARGE where it is not kept."""

    shown: CachedArticle
    body: bytes | Absent
    author: bytes


class ListPage(NamedTuple):
    """A page of a list: ids in order, and what is known by id."""

    total: int
    ids: list[int]
    articles: dict[int, CachedArticle]
    authors: dict[int, bytes]

    def incomplete(self) -> list[int]:
        """The articles of which something is missing: themselves, or their author."""
        return [
            article_id
            for article_id in self.ids
            if (shown := self.articles.get(article_id)) is None or shown.article.author_id not in self.authors
        ]


class ShownComment(NamedTuple):
    author_id: int
    head: bytes


Comments = tuple[list[ShownComment], dict[int, bytes]]
Person = tuple[int, bytes]
NOT_FOUND, TOO_LARGE = Absent.NOT_FOUND, Absent.TOO_LARGE


class FoundArticle(NamedTuple):
    shown: CachedArticle | Absent | None
    body: bytes | Absent | None
    author: bytes | None
    miss: Miss | None

    def value(self) -> ArticleParts | None:
        if self.shown is NOT_FOUND:
            return None
        return ArticleParts(self.shown, self.body, self.author)  # type: ignore[arg-type]  # a hit has all three


class FoundList(NamedTuple):
    """``total`` is None where the list is missing or outdated, or nobody has its name.

    Otherwise ``ids`` are the page's, with their ``articles``. ``authors`` has those that were found.
    """

    total: int | None
    ids: list[int]
    articles: list[CachedArticle | None]
    authors: dict[int, bytes]
    miss: Miss | None

    def value(self) -> ListPage:
        """Of a miss, the part that was found."""
        if self.total is None:
            return ListPage(0, [], {}, {})
        articles = zip(self.ids, self.articles, strict=True)
        known = {article_id: shown for article_id, shown in articles if shown is not None}
        return ListPage(self.total, self.ids, known, self.authors)


class FoundComments(NamedTuple):
    """``comments`` is NOT_FOUND without the article. ``authors`` has those that were found."""

    comments: list[ShownComment] | Absent | None
    authors: dict[int, bytes]
    miss: Miss | None

    def value(self) -> Comments | Absent:
        if isinstance(self.comments, Absent):
            return self.comments
        return self.comments or [], self.authors


class FoundProfile(NamedTuple):
    user_id: int | Absent | None
    author: bytes | None
    miss: Miss | None

    def value(self) -> Person | None:
        if self.user_id is NOT_FOUND:
            return None
        return self.user_id, self.author  # type: ignore[return-value]  # a hit has both


class Own(NamedTuple):
    """Of a viewer: favourites, and users whom the viewer follows."""

    favorites: set[int]
    followed: set[int]


class FoundMarks(NamedTuple):
    """A viewer's marks among those that were asked for. ``too_many``: the viewer has more than are kept."""

    too_many: bool
    favorites: list[int]
    followed: list[int]
    miss: Miss | None

    def value(self) -> Own | None:
        return None if self.too_many else Own(set(self.favorites), set(self.followed))


class FoundTags(NamedTuple):
    tags: Encoded | None
    miss: Miss | None

    def value(self) -> Encoded:
        return self.tags  # type: ignore[return-value]  # a hit has them
