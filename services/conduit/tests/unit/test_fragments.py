"""Fragments that are joined are the bytes that msgspec makes of the structs."""

import asyncio
import random
from functools import partial
from itertools import product
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter

from conduit import fragments
from conduit.rows import (
    ArticleRow,
    CommentRow,
    ListRow,
    PersonRow,
    article_of,
    comment_from,
    profile_from,
    summary_of,
)
from conduit.schemas import (
    Answer,
    Article,
    ArticleBody,
    ArticlesBody,
    ArticleSummary,
    Comment,
    CommentsBody,
    Cover,
    Encoded,
    Profile,
    ProfileBody,
    TagsBody,
)

encode = msgspec.json.Encoder().encode

TEXTS = [
    "",
    "plain",
    'quo"ted',
    "back\\slash/slash",
    "line\nbreak\r\t\b\f",
    "\x00\x01\x1f\x7f\x85",
    "é ß Ω 中文 עברית",
    "😀👩‍👩‍👧",
    "\u2028\u2029\ufeff\uffff",
    '","favorited":true,"following":',
    '\\u0000\\"}],{[',
    "<script>&amp;</script>",
    "x" * 5_000,
]
COVERS = [
    None,
    Cover("pending"),
    Cover("failed"),
    Cover("ready", "/media/a-small.webp", "/media/a-medium.webp", "/media/a-large.webp"),
]
COUNTS = [0, 1, 12, 2**53 - 1]
MARKS = list(product((False, True), repeat=2))


class Draw:
    """Uneven rows, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def text(self) -> str:
        return "".join(self._random.choices(TEXTS[:-1], k=self._random.randrange(4)))

    def text_or_none(self) -> str | None:
        return self._random.choice([None, self.text()])

    def id(self) -> int:
        return self._random.choice([1, 2**53 - 1, self._random.randrange(2**53)])

    def cover(self) -> Cover | None:
        return self._random.choice(COVERS)

    def mark(self) -> bool:
        return self._random.random() < 0.5

    def article(self) -> ArticleRow:
        return ArticleRow(
            id=self.id(),
            author_id=self.id(),
            slug=self.text(),
            title=self.text(),
            description=self.text(),
            body=self.text(),
            tag_list=[self.text() for _ in range(self._random.randrange(4))],
            created_at=self.text(),
            updated_at=self.text(),
            favorites_count=self._random.choice(COUNTS),
            username=self.text(),
            bio=self.text_or_none(),
            image=self.text_or_none(),
            cover_digest=None,
            cover_state=None,
            favorited=self.mark(),
        )

    def comment(self) -> CommentRow:
        return CommentRow(self.id(), self.text(), self.text(), self.text(), self.id())

    def person(self) -> PersonRow:
        return PersonRow(self.id(), self.text(), self.text_or_none(), self.text_or_none())


def _listed(row: ArticleRow) -> ListRow:
    shared = {name: value for name, value in row._asdict().items() if name != "body"}
    return ListRow(**shared, total=1, owner=None)


def _joined_article(row: ArticleRow, cover: Cover | None, *, following: bool) -> Encoded:
    return fragments.join_article(
        fragments.article_fragments(row, cover),
        fragments.body_fragment(row.body),
        fragments.count_fragment(row.favorites_count),
        fragments.author_fragment(row),
        favorited=row.favorited,
        following=following,
    )


def _joined_summary(row: ArticleRow | ListRow, cover: Cover | None, *, following: bool) -> bytes:
    return fragments.join_summary(
        fragments.article_fragments(row, cover),
        fragments.count_fragment(row.favorites_count),
        fragments.author_fragment(row),
        row.favorited,
        following,
    )


def _joined_comment(row: CommentRow, author: PersonRow, *, following: bool) -> bytes:
    return fragments.join_comment(fragments.comment_fragment(row).head, fragments.author_fragment(author), following)


def _check_article(row: ArticleRow, cover: Cover | None, *, following: bool) -> None:
    article = article_of(row, cover, following)
    assert bytes(_joined_article(row, cover, following=following)) == encode(article)
    listed = _listed(row)
    summary = encode(summary_of(listed, cover, following))
    assert _joined_summary(listed, cover, following=following) == summary
    assert _joined_summary(row, cover, following=following) == summary


ROW = Draw(0).article()._replace(slug="s", title="t", description="d", body="b", tag_list=["a", "b"], bio="bio")


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("name", ["slug", "title", "description", "body", "created_at", "updated_at", "username"])
def test_any_text_in_an_article(name: str, text: str) -> None:
    changed: dict[str, Any] = {name: text}
    _check_article(ROW._replace(**changed), None, following=False)


@pytest.mark.parametrize("text", [None, *TEXTS], ids=range(len(TEXTS) + 1))
@pytest.mark.parametrize("name", ["bio", "image"])
def test_an_author_with_and_without_bio_and_image(name: str, text: str | None) -> None:
    changed: dict[str, Any] = {name: text}
    _check_article(ROW._replace(**changed), None, following=True)


@pytest.mark.parametrize("tags", [[], [""], ["one"], TEXTS], ids=len)
def test_any_tags(tags: list[str]) -> None:
    _check_article(ROW._replace(tag_list=tags), None, following=False)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("favorited", "following"), MARKS)
@pytest.mark.parametrize("cover", COVERS, ids=lambda cover: cover and cover.state)
def test_every_cover_mark_and_count(cover: Cover | None, favorited: bool, following: bool, count: int) -> None:
    _check_article(ROW._replace(favorited=favorited, favorites_count=count), cover, following=following)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("following", [False, True])
def test_any_comment(text: str, following: bool) -> None:
    row, author = CommentRow(7, text, text, text, 8), PersonRow(8, text, None, text)
    assert _joined_comment(row, author, following=following) == encode(comment_from(row, author, following))


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("following", [False, True])
def test_any_profile(text: str, following: bool) -> None:
    for person in (PersonRow(8, text, None, text), PersonRow(8, text, text, None)):
        joined = fragments.join_profile(fragments.author_fragment(person), following)
        assert bytes(joined) == encode(profile_from(person, following))


@pytest.mark.parametrize("seed", range(200))
def test_uneven_rows(seed: int) -> None:
    draw = Draw(seed)
    _check_article(draw.article(), draw.cover(), following=draw.mark())
    comment, author, following = draw.comment(), draw.person(), draw.mark()
    assert _joined_comment(comment, author, following=following) == encode(comment_from(comment, author, following))


def test_fragments_know_their_ids_and_pass_through_msgpack() -> None:
    row = Draw(1).comment()
    article, comment = fragments.article_fragments(ROW, COVERS[-1]), fragments.comment_fragment(row)
    assert article.author_id == ROW.author_id
    assert (comment.id, comment.author_id) == (row.id, row.author_id)
    for fragment in (article, comment):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(fragment), type=type(fragment)) == fragment


# In answers ------------------------------------------------------------------------------------------------


class Pairs:
    """Answers of the same things, encoded before and not."""

    def __init__(self, seed: int, length: int) -> None:
        draw = Draw(seed)
        rows = [(draw.article(), draw.cover(), draw.mark()) for _ in range(length)]
        spoken = [(draw.comment(), draw.person(), draw.mark()) for _ in range(length)]
        row, cover, follows = draw.article(), draw.cover(), draw.mark()
        person = draw.person()
        summaries = [summary_of(_listed(each), its, following) for each, its, following in rows]
        comments = [comment_from(comment, author, following) for comment, author, following in spoken]
        self.plain: dict[str, Answer] = {
            "article": ArticleBody(article_of(row, cover, follows)),
            "articles": ArticlesBody(summaries, 12),
            "comments": CommentsBody(comments),
            "profile": ProfileBody(profile_from(person, follows)),
            "tags": TagsBody(TEXTS[:length]),
        }
        joined_summaries = [_joined_summary(each, its, following=following) for each, its, following in rows]
        joined_comments = [
            _joined_comment(comment, author, following=following) for comment, author, following in spoken
        ]
        self.encoded: dict[str, Answer] = {
            "article": ArticleBody(_joined_article(row, cover, following=follows)),
            "articles": ArticlesBody(fragments.join_list(joined_summaries), 12),
            "comments": CommentsBody(fragments.join_list(joined_comments)),
            "profile": ProfileBody(fragments.join_profile(fragments.author_fragment(person), follows)),
            "tags": TagsBody(fragments.tags_fragment(TEXTS[:length])),
        }


KINDS = ["article", "articles", "comments", "profile", "tags"]


@pytest.mark.parametrize("length", [0, 1, 2, 20])
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_of_encoded_parts_is_the_same(kind: str, length: int) -> None:
    pairs = Pairs(3, length)
    assert encode(pairs.encoded[kind]) == encode(pairs.plain[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_fastapi_alone_answers_the_same(kind: str) -> None:
    pairs = Pairs(4, 3)
    answers = {"/plain": pairs.plain[kind], "/encoded": pairs.encoded[kind]}
    app = FastAPI()
    for path, answer in answers.items():
        app.get(path, response_model=type(answer))(partial(_same, answer))

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            return [await http.get(path) for path in answers]

    plain, encoded = asyncio.run(ask())
    assert (plain.status_code, encoded.status_code) == (200, 200)
    assert encoded.content == plain.content
    assert plain.json() == msgspec.json.decode(encode(pairs.plain[kind]))


def _same(answer: Any) -> Any:
    return answer


@pytest.mark.parametrize(
    ("answer", "name", "kind"),
    [
        (ArticleBody, "article", Article),
        (ArticlesBody, "articles", list[ArticleSummary]),
        (CommentsBody, "comments", list[Comment]),
        (ProfileBody, "profile", Profile),
        (TagsBody, "tags", list[str]),
    ],
)
def test_what_may_be_encoded_is_described_as_what_it_is(answer: type[Answer], name: str, kind: Any) -> None:
    alone: Any = type("Alone", (Answer,), {"__annotations__": {name: kind}})
    described = [TypeAdapter(each).json_schema()["properties"][name] for each in (answer, alone)]
    assert described[0] == described[1]
