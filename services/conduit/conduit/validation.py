"""Types of a request's text fields: their limits, and their normal form."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

MAX_TAGS = 20
MAX_TAG_LENGTH = 50
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def normalize_nfc(text: str) -> str:
    """A name or tag in Unicode's NFC, as it is stored: some systems send é as e and a combining accent."""
    return unicodedata.normalize("NFC", text)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "can't be blank")
    return text


def _without_nul(text: str) -> str:
    # PostgreSQL can't store it.
    if "\x00" in text:
        raise PydanticCustomError("nul", "must not contain NUL characters")
    return text


def _username(text: str) -> str:
    name = normalize_nfc(text)
    if name in (".", "..") or "/" in name or _CONTROL.search(name):
        # A username is a segment of a URL's path, where these have a meaning.
        raise PydanticCustomError("username", "must not contain slashes or control characters")
    return name


def _address(text: str) -> str:
    """An e-mail address in its normal form, as it is stored. Raises EmailNotValidError."""
    # Test domains (.test, .local) are allowed: no mail leaves this machine.
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
    names = sorted({normalize_nfc(tag.strip()) for tag in values} - {""})
    if len(names) > MAX_TAGS:
        raise PydanticCustomError("tags", "has more than {most} tags", {"most": MAX_TAGS})
    if any(len(name) > MAX_TAG_LENGTH or _CONTROL.search(name) for name in names):
        raise PydanticCustomError(
            "tag", "has a tag over {most} characters, or with control characters", {"most": MAX_TAG_LENGTH}
        )
    return names


_Stripped = StringConstraints(strip_whitespace=True)
_NotBlank = AfterValidator(_not_blank)
_NoNul = AfterValidator(_without_nul)

Username = Annotated[str, _Stripped, Field(min_length=1, max_length=64), AfterValidator(_username)]
Email = Annotated[
    str, Field(min_length=1, max_length=254, json_schema_extra={"format": "email"}), _NotBlank, AfterValidator(_email)
]
KnownEmail = Annotated[str, Field(min_length=1, max_length=254), _NotBlank, _NoNul, AfterValidator(_known_email)]
Password = Annotated[str, Field(min_length=1, max_length=256), _NotBlank, _NoNul]
Bio = Annotated[str, Field(max_length=5_000), _NoNul]
ImageUrl = Annotated[str, Field(max_length=2_000), _NoNul]
Title = Annotated[str, _Stripped, Field(min_length=1, max_length=300), _NoNul]
Description = Annotated[str, Field(min_length=1, max_length=1_000), _NotBlank, _NoNul]
Text = Annotated[str, Field(min_length=1, max_length=200_000), _NotBlank, _NoNul]
Tags = Annotated[list[str], AfterValidator(_tags)]
FilterText = Annotated[str, Field(max_length=200), _NoNul, AfterValidator(normalize_nfc)]

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
        errors.setdefault(field, []).append(message)
    return errors
