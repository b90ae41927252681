"""The models of request bodies, with their limits. pydantic reports all errors of a body at once.

Each has an envelope, as RealWorld's specification says: ``{"article": {…}}``. Unknown fields are ignored.
"""

from typing import Self

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from conduit.validation import (
    Bio,
    Description,
    Email,
    ImageUrl,
    KnownEmail,
    NewPassword,
    Password,
    Tags,
    Text,
    Title,
    Username,
)


class NewUser(BaseModel):
    username: Username
    email: Email
    password: NewPassword


class NewUserBody(BaseModel):
    user: NewUser


class Login(BaseModel):
    email: KnownEmail
    password: Password


class LoginBody(BaseModel):
    user: Login


class Changes(BaseModel):
    """A partial update: ``model_dump(exclude_unset=True)`` has the given fields, and the others do not change."""

    @model_validator(mode="after")
    def _gives_something(self) -> Self:
        if not self.model_fields_set:
            names = [info.alias or name for name, info in type(self).model_fields.items()]
            raise PydanticCustomError("nothing", "has none of {names}", {"names": ", ".join(names)})
        return self


class UserChanges(Changes):
    """A bio or image of null or "" is removed."""

    # A default_factory, because its value is neither validated nor shown in the API's description.
    username: Username = Field(default_factory=str)
    email: Email = Field(default_factory=str)
    password: NewPassword = Field(default_factory=str)
    bio: Bio | None = Field(default_factory=lambda: None)
    image: ImageUrl | None = Field(default_factory=lambda: None)


class UserChangesBody(BaseModel):
    user: UserChanges


class NewArticle(BaseModel):
    title: Title
    description: Description
    body: Text
    tag_list: Tags = Field(default_factory=list, alias="tagList")


class NewArticleBody(BaseModel):
    article: NewArticle


class ArticleChanges(Changes):
    title: Title = Field(default_factory=str)
    description: Description = Field(default_factory=str)
    body: Text = Field(default_factory=str)
    tag_list: Tags = Field(default_factory=list, alias="tagList")


class ArticleChangesBody(BaseModel):
    article: ArticleChanges


class NewComment(BaseModel):
    body: Text


class NewCommentBody(BaseModel):
    comment: NewComment
