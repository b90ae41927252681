"""Types of a request's text fields: their limits, and their normal form."""

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import email_validator
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from conduit.visible_text import has_odd_space, has_unseen, shows_something, turns_direction

MAX_TAGS = 20
MAX_TAG_LENGTH = 50
LEAST_PASSWORD = 8

# Companies have such domains inside, and no mail leaves this machine.
email_validator.SPECIAL_USE_DOMAIN_NAMES.remove("local")


def normalize_nfc(text: str) -> str:
    """A name or tag in Unicode's NFC, as it is stored: some systems send é as e and a combining accent."""
    return unicodedata.normalize("NFC", text)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "can't be blank")
    return text


def _shown(text: str) -> str:
    """A text that readers are shown. What it looks like is its author's business, but it must look like something."""
    text = _storable(text)
    if not shows_something(text):
        raise PydanticCustomError("blank", "can't be blank")
    return text


def _listed(text: str) -> str:
    """A text that stands in a list, where it must not turn what stands beside it."""
    if turns_direction(text):
        raise PydanticCustomError("direction", "must not contain controls of the writing direction")
    return text


def _storable(text: str) -> str:
    # PostgreSQL can't store these.
    if "\x00" in text:
        raise PydanticCustomError("nul", "must not contain NUL characters")
    if not _is_unicode(text):
        raise PydanticCustomError("unicode", "must be a text in UTF-8")
    return text


def _is_unicode(text: str) -> bool:
    """Whether it has no half of a surrogate pair, which JSON can write and UTF-8 can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _composed(value: Any) -> Any:
    # Before its length is checked: some characters have no composed form, and become several.
    return normalize_nfc(value.strip()) if isinstance(value, str) else value


def _username(text: str) -> str:
    name = _storable(text)
    if name in (".", "..") or "/" in name:
        # A username is a segment of a URL's path, where these have a meaning.
        raise PydanticCustomError("username", "must not contain slashes")
    if not shows_something(name):
        raise PydanticCustomError("blank", "can't be blank")
    if has_unseen(name):
        raise PydanticCustomError("unseen", "must not contain invisible characters")
    if has_odd_space(name):
        raise PydanticCustomError("space", "must not contain spaces other than single ordinary ones")
    return name


def _new_password(text: str) -> str:
    if len(text) < LEAST_PASSWORD:
        raise PydanticCustomError("short", "is too short (at least {least} characters)", {"least": LEAST_PASSWORD})
    return text


def _address(text: str) -> str:
    """An e-mail address in its normal form, as it is stored. Raises EmailNotValidError."""
    # With .test, for the same reason as .local.
    return validate_email(text.strip(), check_deliverability=False, test_environment=True).normalized.lower()


def _email(text: str) -> str:
    try:
        return _address(text)
    except EmailNotValidError:
        raise PydanticCustomError("email", "is invalid") from None


def _known_email(text: str) -> str:
    try:
        return _address(text)
    except EmailNotValidError:
        # No account has such an address, so signing in fails as it does for any other unknown one.
        return text.strip().lower()


def _tags(values: list[str]) -> list[str]:
    """The tags stripped, without duplicates, sorted."""
    names = sorted({normalize_nfc(_storable(tag).strip()) for tag in values} - {""})
    if len(names) > MAX_TAGS:
        raise PydanticCustomError("tags", "has more than {most} tags", {"most": MAX_TAGS})
    if any(len(name) > MAX_TAG_LENGTH or has_unseen(name) or not shows_something(name) for name in names):
        raise PydanticCustomError(
            "tag", "has a tag over {most} characters, or with invisible characters", {"most": MAX_TAG_LENGTH}
        )
    if any(has_odd_space(name) for name in names):
        raise PydanticCustomError("space", "has a tag with spaces other than single ordinary ones")
    return names


_Stripped = StringConstraints(strip_whitespace=True)
_NotBlank = AfterValidator(_not_blank)
_Storable = AfterValidator(_storable)
_Shown = AfterValidator(_shown)
_Listed = AfterValidator(_listed)
_Composed = BeforeValidator(_composed)

Username = Annotated[str, Field(min_length=1, max_length=64), _Composed, AfterValidator(_username)]
Email = Annotated[
    str, Field(min_length=1, max_length=254, json_schema_extra={"format": "email"}), _NotBlank, AfterValidator(_email)
]
KnownEmail = Annotated[str, Field(min_length=1, max_length=254), _NotBlank, _Storable, AfterValidator(_known_email)]
Password = Annotated[str, Field(min_length=1, max_length=256), _NotBlank, _Storable]
NewPassword = Annotated[
    str,
    Field(min_length=1, max_length=256, json_schema_extra={"minLength": LEAST_PASSWORD}),
    _NotBlank,
    AfterValidator(_new_password),
    _Storable,
]
Bio = Annotated[str, Field(max_length=5_000), _Storable]
ImageUrl = Annotated[str, Field(max_length=2_000), _Storable]
Title = Annotated[str, _Stripped, Field(min_length=1, max_length=300), _Shown, _Listed]
Description = Annotated[str, Field(min_length=1, max_length=1_000), _Shown, _Listed]
Text = Annotated[str, Field(min_length=1, max_length=200_000), _Shown]
Tags = Annotated[
    list[Annotated[str, Field(json_schema_extra={"maxLength": MAX_TAG_LENGTH})]],
    Field(json_schema_extra={"maxItems": MAX_TAGS}),
    AfterValidator(_tags),  # which counts the tags that are left, and so checks both limits
]
FilterText = Annotated[str, Field(max_length=200), BeforeValidator(normalize_nfc), _Storable]
PathName = Annotated[str, BeforeValidator(normalize_nfc), _Storable]

# The API's messages by pydantic's type of error. Other types keep pydantic's message.
_MESSAGES = {
    "missing": "can't be blank",
    "string_too_short": "can't be blank",
    "string_too_long": "is too long (at most {max_length} characters)",
    "string_type": "must be a text",
    "string_unicode": "must be a text in UTF-8",
    "list_type": "must be a list",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "json_invalid": "is not valid JSON",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}


def errors_by_field(found: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """pydantic's errors in the API's shape: messages by the innermost field, or ``body``."""
    errors: dict[str, list[str]] = {}
    for error in found:
        names = [part for part in error["loc"] if isinstance(part, str)]
        template = _MESSAGES.get(error["type"])
        message = template.format(**error.get("ctx", {})) if template else error["msg"]
        field = names[-1] if names else "body"
        told = errors.setdefault(field, [])
        if message not in told:  # a parameter that two dependencies take is validated for each
            told.append(message)
    return errors
