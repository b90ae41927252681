"""Reads whose answers can be inspected: what is encoded is decoded to the structs that other Reads return."""

from typing import TypeVar

import msgspec

from conduit.ports import Page, Reads
from conduit.schemas import Article, ArticleSummary, Comment, Encoded, Profile

Shown = TypeVar("Shown")


class DecodedReads:
    """Any reads, decoded."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    def article(self, article_id: int, viewer: int | None) -> Article | None:
        return _decoded(self._reads.article(article_id, viewer), Article)

    def articles(
        self, page: Page, viewer: int | None, *, tag: str | None, author: str | None, favorited: str | None
    ) -> tuple[list[ArticleSummary], int]:
        articles, total = self._reads.articles(page, viewer, tag=tag, author=author, favorited=favorited)
        return _decoded(articles, list[ArticleSummary]), total

    def feed(self, page: Page, viewer: int) -> tuple[list[ArticleSummary], int]:
        return self._reads.feed(page, viewer)

    def comments(self, article_id: int, viewer: int | None, page: Page) -> list[Comment] | None:
        return _decoded(self._reads.comments(article_id, viewer, page), list[Comment])

    def profile(self, username: str, viewer: int | None) -> Profile | None:
        return _decoded(self._reads.profile(username, viewer), Profile)

    def tags(self) -> list[str]:
        return _decoded(self._reads.tags(), list[str])


def _decoded(shown: Shown | Encoded, kind: type[Shown]) -> Shown:
    return msgspec.json.decode(shown, type=kind) if isinstance(shown, Encoded) else shown
