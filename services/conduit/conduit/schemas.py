"""The models of responses: msgspec structs, which are faster to make and to encode than pydantic models.

docs/decisions/0001-the-app-s-stack.md has the measurements. ``Answer`` describes a struct to pydantic, so that FastAPI
uses it like any response model, in the description and where its own routes validate a response.
"""

from functools import reduce
from operator import or_
from typing import Any, get_args

import msgspec
from msgspec import Struct, field
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

# A part of an answer that is JSON already: msgspec copies it into the answer. ``fragments.py`` makes such parts.
Encoded = msgspec.Raw


class Answer(Struct):
    """A struct that pydantic can describe and validate, by its documented hook for custom types."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        types = {found.encode_name: _described(found.type) for found in msgspec.structs.fields(cls)}
        fields = {
            encoded_as: core_schema.typed_dict_field(handler.generate_schema(declared), required=True)
            for encoded_as, declared in types.items()
        }
        name = f"{cls.__module__}.{cls.__name__}"
        shape = core_schema.typed_dict_schema(fields, cls=cls, ref=name)
        return core_schema.no_info_before_validator_function(_to_builtins, shape)


def _described(declared: Any) -> Any:
    """The type that is described: a part that may be Encoded looks the same then."""
    kinds = get_args(declared)
    return reduce(or_, (kind for kind in kinds if kind is not Encoded)) if Encoded in kinds else declared


def _to_builtins(answer: Any) -> Any:
    # msgspec asks the hook for what it does not convert, which is what is encoded.
    return msgspec.to_builtins(answer, enc_hook=msgspec.json.decode)


class User(Answer):
    email: str
    token: str
    username: str
    bio: str | None
    image: str | None


class UserBody(Answer):
    user: User


class Profile(Answer):
    username: str
    bio: str | None
    image: str | None
    following: bool


class ProfileBody(Answer):
    profile: Profile | Encoded


class Cover(Answer):
    """An article's cover. ``state`` is "pending", "ready" or "failed"; only "ready" has the URLs of the three sizes."""

    state: str
    small: str | None = None
    medium: str | None = None
    large: str | None = None


class ArticleSummary(Answer):
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


class ArticleBody(Answer):
    article: Article | Encoded


class ArticlesBody(Answer):
    articles: list[ArticleSummary] | Encoded
    articles_count: int = field(name="articlesCount")


class Comment(Answer):
    id: int
    created_at: str = field(name="createdAt")
    updated_at: str = field(name="updatedAt")
    body: str
    author: Profile


class CommentBody(Answer):
    comment: Comment


class CommentsBody(Answer):
    comments: list[Comment] | Encoded


class Report(Answer):
    """A report on the signed-in author's audience. ``url`` is the path of its file, once ``state`` is "ready"."""

    id: int
    state: str
    created_at: str = field(name="createdAt")
    url: str | None


class ReportBody(Answer):
    report: Report


class TagsBody(Answer):
    tags: list[str] | Encoded


class ErrorsBody(Answer):
    errors: dict[str, list[str]]
