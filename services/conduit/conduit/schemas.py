"""The API's bodies. msgspec decodes requests and checks their types; ``validation`` checks what they mean."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType, field


class User(Struct):
    email: str
    token: str
    username: str
    bio: str | None
    image: str | None


class UserBody(Struct):
    user: User


class Profile(Struct):
    username: str
    bio: str | None
    image: str | None
    following: bool


class ProfileBody(Struct):
    profile: Profile


class Cover(Struct):
    """An article's cover: the addresses of its three sizes, once ``state`` is "ready"; "pending" or "failed" else."""

    state: str
    small: str | None = None
    medium: str | None = None
    large: str | None = None


class ArticleSummary(Struct):
    """An article in a list: without its body."""

    slug: str
    title: str
    description: str
    tag_list: list[str] = field(name="tagList")
    created_at: str = field(name="createdAt")
    updated_at: str = field(name="updatedAt")
    favorited: bool
    favorites_count: int = field(name="favoritesCount")
    author: Profile
    cover: Cover | None


class Article(ArticleSummary):
    body: str


class ArticleBody(Struct):
    article: Article


class ArticlesBody(Struct):
    articles: list[ArticleSummary]
    articles_count: int = field(name="articlesCount")


class Comment(Struct):
    id: int
    created_at: str = field(name="createdAt")
    updated_at: str = field(name="updatedAt")
    body: str
    author: Profile


class CommentBody(Struct):
    comment: Comment


class CommentsBody(Struct):
    comments: list[Comment]


class Report(Struct):
    """A report on the signed-in author's audience; ``url`` is its file, once ``state`` is "ready"."""

    id: int
    state: str
    created_at: str = field(name="createdAt")
    url: str | None


class ReportBody(Struct):
    report: Report


class TagsBody(Struct):
    tags: list[str]


class ErrorsBody(Struct):
    errors: dict[str, list[str]]


class NewUser(Struct):
    username: str = ""
    email: str = ""
    password: str = ""


class NewUserBody(Struct):
    user: NewUser


class Login(Struct):
    email: str = ""
    password: str = ""


class LoginBody(Struct):
    user: Login


class UserChanges(Struct):
    """What a PUT leaves out stays as it is; a bio or image of null or "" is removed."""

    username: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    bio: str | UnsetType | None = UNSET
    image: str | UnsetType | None = UNSET


class UserChangesBody(Struct):
    user: UserChanges


class NewArticle(Struct):
    title: str = ""
    description: str = ""
    body: str = ""
    tag_list: list[str] = field(name="tagList", default_factory=list)


class NewArticleBody(Struct):
    article: NewArticle


class ArticleChanges(Struct):
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    body: str | UnsetType = UNSET
    tag_list: list[str] | UnsetType = field(name="tagList", default=UNSET)


class ArticleChangesBody(Struct):
    article: ArticleChanges


class NewComment(Struct):
    body: str = ""


class NewCommentBody(Struct):
    comment: NewComment


def is_set(value: Any) -> bool:
    """Whether a request's body had this field."""
    return value is not UNSET
