"""The rows of the app's statements as NamedTuples, and their mapping to the API's models.

Each class is the row of one or more statements: the columns have the fields' names, in the fields' order
(``statements.py``). Times are text, as the API shows them. A row that only one module uses is defined there.
"""

from typing import NamedTuple, Protocol

from conduit.media_names import SIZES, cover_file
from conduit.ports import Media
from conduit.schemas import Article, ArticleSummary, Comment, Cover, Profile


class ArticleRow(NamedTuple):
    """An article with its author. ``favorited`` is about the viewer, and false in a statement without one."""

    id: int
    author_id: int
    slug: str
    title: str
    description: str
    body: str
    tag_list: list[str]
    created_at: str
    updated_at: str
    favorites_count: int
    username: str
    bio: str | None
    image: str | None
    cover_digest: str | None
    cover_state: str | None
    favorited: bool


class ListRow(NamedTuple):
    """An article in a list, with the list's ``total`` and the id of the user whose list it is.

    ``owner`` is None if the statement does not select it. A page without articles is one row with total and owner, and
    None in every other field.
    """

    total: int
    id: int
    author_id: int
    slug: str
    title: str
    description: str
    tag_list: list[str]
    created_at: str
    updated_at: str
    favorites_count: int
    username: str
    bio: str | None
    image: str | None
    cover_digest: str | None
    cover_state: str | None
    favorited: bool
    owner: int | None


class CommentRow(NamedTuple):
    """A comment. An article without comments is one row of None."""

    id: int
    body: str
    created_at: str
    updated_at: str
    author_id: int


class PersonRow(NamedTuple):
    id: int
    username: str
    bio: str | None
    image: str | None


class MarkRow(NamedTuple):
    """One of a viewer's marks: a favourite's article id, or the id of a followed author."""

    favorited: bool
    id: int


class IdRow(NamedTuple):
    id: int


class TagRow(NamedTuple):
    tag: str


class AuthorRow(NamedTuple):
    """The author of an article."""

    author_id: int


class FollowedRow(NamedTuple):
    """Whether the viewer follows somebody now."""

    follows: bool


class NewReportRow(NamedTuple):
    """A report, the ids of those that make room for it, failed ones first, and how many have failed."""

    id: int
    surplus: list[int]
    failed: int


class LockedArticleRow(NamedTuple):
    author_id: int
    tag_list: list[str]
    cover_digest: str | None


class CoverRow(NamedTuple):
    author_id: int
    cover_digest: str | None
    cover_state: str | None


class DeletedCommentRow(NamedTuple):
    """The article's id, and the comment's author, which is None if there is no such comment."""

    article_id: int
    author_id: int | None


class ChangedUserRow(NamedTuple):
    """A user after a change, with the former names, and whether the change shows in the profile."""

    former_username: str
    former_email: str
    username: str
    email: str
    bio: str | None
    image: str | None
    shows: bool


# The API's models ------------------------------------------------------------------------------------------


class PersonFields(Protocol):
    """The public fields of a user, in PersonRow, ArticleRow and ListRow."""

    @property
    def username(self) -> str: ...
    @property
    def bio(self) -> str | None: ...
    @property
    def image(self) -> str | None: ...


def profile_from(person: PersonFields, following: bool) -> Profile:
    return Profile(person.username, person.bio, person.image, following)


def summary_of(row: ListRow, cover: Cover | None, following: bool) -> ArticleSummary:
    return ArticleSummary(
        row.slug,
        row.title,
        row.description,
        row.tag_list,
        row.created_at,
        row.updated_at,
        row.favorited,
        row.favorites_count,
        Profile(row.username, row.bio, row.image, following),
        cover,
    )


def article_of(row: ArticleRow, cover: Cover | None, following: bool) -> Article:
    return Article(
        row.slug,
        row.title,
        row.description,
        row.tag_list,
        row.created_at,
        row.updated_at,
        row.favorited,
        row.favorites_count,
        profile_from(row, following),
        cover,
        row.body,
    )


def comment_from(comment: CommentRow, author: PersonFields, following: bool) -> Comment:
    return Comment(
        comment.id,
        comment.created_at,
        comment.updated_at,
        comment.body,
        # As in a summary: a list makes many, and one call for each is enough.
        Profile(author.username, author.bio, author.image, following),
    )


def cover_from(media: Media, digest: str | None, state: str | None) -> Cover | None:
    """A cover as the API shows it: with URLs once its files exist."""
    if digest is None or state is None:
        return None
    if state != "ready":
        return Cover(state)
    return Cover(state, *(media.url(cover_file(digest, size)) for size in SIZES))
