"""What a request's text must be like, beyond its type. All problems of a body are told at once."""

import re
import unicodedata

from email_validator import EmailNotValidError, validate_email

from conduit.errors import InvalidError
from conduit.schemas import (
    ArticleChanges,
    Login,
    NewArticle,
    NewComment,
    NewUser,
    UserChanges,
    is_set,
)

MAX_BODY_BYTES = 1_000_000
_LENGTHS = {
    "username": 64,
    "email": 254,
    "password": 256,
    "bio": 5_000,
    "image": 2_000,
    "title": 300,
    "description": 1_000,
    "body": 200_000,
    "tag": 50,
}
_MAX_TAGS = 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _one_spelling(email: str) -> str:
    """The address as it is stored, of all the ways to type it. Raises EmailNotValidError."""
    # Test domains (.test, .local) are fine here: nothing is ever delivered outside.
    return validate_email(email.strip(), check_deliverability=False, test_environment=True).normalized.lower()


def one_form(name: str) -> str:
    """A name or tag with composed letters, as it is stored: some systems type é as e and an accent."""
    return unicodedata.normalize("NFC", name)


class Problems:
    """Collects what is wrong with a body, by field, and raises it all together."""

    def __init__(self) -> None:
        self.errors: dict[str, list[str]] = {}

    def add(self, field: str, message: str) -> None:
        self.errors.setdefault(field, []).append(message)

    def raise_if_any(self) -> None:
        if self.errors:
            raise InvalidError(self.errors)

    def required(self, field: str, value: str) -> None:
        if not value.strip():
            self.add(field, "can't be blank")
        else:
            self.text(field, value)

    def text(self, field: str, value: str) -> None:
        if len(value) > _LENGTHS[field]:
            self.add(field, f"is too long (at most {_LENGTHS[field]} characters)")
        if "\x00" in value:
            self.add(field, "must not contain NUL characters")

    def username(self, value: str) -> str:
        name = one_form(value.strip())
        self.required("username", name)
        if name in (".", "..") or "/" in name or _CONTROL.search(name):
            # It stands in a URL's path, where these would be something else.
            self.add("username", "must not contain slashes or control characters")
        return name

    def email(self, value: str) -> str:
        self.required("email", value)
        if self.errors.get("email"):
            return value
        try:
            return _one_spelling(value)
        except EmailNotValidError:
            self.add("email", "is invalid")
            return value

    def tags(self, values: list[str]) -> list[str]:
        """The tags stripped, without repetition, sorted."""
        names = sorted({one_form(tag.strip()) for tag in values} - {""})
        if len(names) > _MAX_TAGS:
            self.add("tagList", f"has more than {_MAX_TAGS} tags")
        for name in names:
            if len(name) > _LENGTHS["tag"] or _CONTROL.search(name):
                self.add("tagList", f"has a tag over {_LENGTHS['tag']} characters, or with control characters")
                break
        return names


def new_user(sent: NewUser) -> NewUser:
    problems = Problems()
    checked = NewUser(problems.username(sent.username), problems.email(sent.email), sent.password)
    problems.required("password", sent.password)
    problems.raise_if_any()
    return checked


def login(sent: Login) -> Login:
    problems = Problems()
    problems.required("email", sent.email)
    problems.required("password", sent.password)
    problems.raise_if_any()
    try:
        return Login(_one_spelling(sent.email), sent.password)
    except EmailNotValidError:
        # Nobody has such an address: the answer is the same as for any other that is unknown.
        return Login(sent.email.strip().lower(), sent.password)


def user_changes(sent: UserChanges) -> UserChanges:
    problems = Problems()
    changes = UserChanges(sent.username, sent.email, sent.password, sent.bio, sent.image)
    if isinstance(sent.username, str):
        changes.username = problems.username(sent.username)
    if isinstance(sent.email, str):
        changes.email = problems.email(sent.email)
    if isinstance(sent.password, str):
        problems.required("password", sent.password)
    for field in ("bio", "image"):
        value = getattr(sent, field)
        if isinstance(value, str):
            problems.text(field, value)
            setattr(changes, field, value or None)
    if not any(is_set(getattr(sent, field)) for field in sent.__struct_fields__):
        problems.add("user", "has none of username, email, password, bio, image")
    problems.raise_if_any()
    return changes


def new_article(sent: NewArticle) -> NewArticle:
    problems = Problems()
    for field in ("title", "description", "body"):
        problems.required(field, getattr(sent, field))
    checked = NewArticle(sent.title.strip(), sent.description, sent.body, problems.tags(sent.tag_list))
    problems.raise_if_any()
    return checked


def article_changes(sent: ArticleChanges) -> ArticleChanges:
    problems = Problems()
    changes = ArticleChanges(sent.title, sent.description, sent.body, sent.tag_list)
    for field in ("title", "description", "body"):
        value = getattr(sent, field)
        if isinstance(value, str):
            problems.required(field, value)
    if isinstance(sent.title, str):
        changes.title = sent.title.strip()
    if isinstance(sent.tag_list, list):
        changes.tag_list = problems.tags(sent.tag_list)
    if not any(is_set(getattr(sent, field)) for field in sent.__struct_fields__):
        problems.add("article", "has none of title, description, body, tagList")
    problems.raise_if_any()
    return changes


def new_comment(sent: NewComment) -> str:
    problems = Problems()
    problems.required("body", sent.body)
    problems.raise_if_any()
    return sent.body
