"""The limits and the normal form of a request's text fields."""

import unicodedata
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from conduit.request_bodies import ArticleChanges, Login, NewArticle, NewComment, NewUser, UserChanges
from conduit.validation import errors_by_field

Model = TypeVar("Model", bound=BaseModel)


def _checked(model: type[Model], **sent: Any) -> Model | dict[str, list[str]]:
    """The body's model, or its errors by field."""
    try:
        return model.model_validate(sent)
    except ValidationError as error:
        return errors_by_field([{**found} for found in error.errors()])


def _refused(model: type[BaseModel], **sent: Any) -> dict[str, list[str]]:
    """The body's errors by field; empty if it is valid."""
    found = _checked(model, **sent)
    return {} if isinstance(found, BaseModel) else found


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=300))
def test_a_user_that_is_accepted_can_be_stored_and_named_in_a_path(username: str, email: str, password: str) -> None:
    user = _checked(NewUser, username=username, email=email, password=password)
    if isinstance(user, dict):
        assert set(user) <= {"username", "email", "password"}
    else:
        assert user.username == unicodedata.normalize("NFC", user.username.strip())
        assert not set(user.username) & set("/\x00\n\r")
        assert "\x00" not in user.password


@given(st.lists(st.text(max_size=60), max_size=25))
def test_tags_that_are_accepted_are_sorted_few_and_distinct(tags: list[str]) -> None:
    article = {"title": "t", "description": "d", "body": "b"}
    checked = _checked(NewArticle, **article, tagList=tags)
    if isinstance(checked, dict):
        assert set(checked) == {"tagList"}
    else:
        kept = checked.tag_list
        assert kept == sorted(set(kept))
        assert len(kept) <= 20
        assert all(tag.strip() and "\x00" not in tag and len(tag) <= 50 for tag in kept)
        assert NewArticle(**article, tagList=kept).tag_list == kept


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" Jo@Example.COM ", "jo@example.com"),
        ("jo@MÜLLER.example", "jo@müller.example"),
        ("jo@xn--mller-kva.example", "jo@müller.example"),
        ("jo+tag@mail.test", "jo+tag@mail.test"),
        ("jo@mail.office.local", "jo@mail.office.local"),
    ],
)
def test_an_address_has_one_normal_form_for_signing_up_and_in(typed: str, kept: str) -> None:
    assert NewUser(username="jo", email=typed, password="password").email == kept
    assert Login(email=typed, password="password").email == kept
    assert UserChanges(email=typed).email == kept


def test_an_invalid_address_fails_to_sign_in_like_an_unknown_one() -> None:
    assert Login(email=" Nobody ", password="password").email == "nobody"
    assert _refused(NewUser, username="jo", email="nobody", password="password") == {"email": ["is invalid"]}


@pytest.mark.parametrize("model", [NewUser, Login, NewArticle])
def test_fields_that_are_missing_null_or_blank_are_each_named(model: type[BaseModel]) -> None:
    required = {name for name, info in model.model_fields.items() if info.is_required()}
    assert set(_refused(model)) == required
    assert set(_refused(model, **dict.fromkeys(required))) == required
    for blank in ("", "   ", "\t"):
        assert _refused(model, **dict.fromkeys(required, blank)) == {name: ["can't be blank"] for name in required}


@pytest.mark.parametrize(
    ("model", "field", "most"),
    [
        (NewUser, "username", 64),
        (NewUser, "password", 256),
        (UserChanges, "bio", 5_000),
        (UserChanges, "image", 2_000),
        (NewArticle, "title", 300),
        (NewArticle, "description", 1_000),
        (NewArticle, "body", 200_000),
    ],
)
def test_a_text_has_a_maximum_length(model: type[BaseModel], field: str, most: int) -> None:
    good = {"username": "u", "email": "u@example.com", "password": "password"}
    good |= {"title": "t", "description": "d", "body": "b"}
    assert _refused(model, **good | {field: "x" * most}) == {}
    assert _refused(model, **good | {field: "x" * (most + 1)}) == {
        field: [f"is too long (at most {most} characters)"]
    }


def test_a_name_is_composed_before_its_length_is_checked() -> None:
    assert NewUser(username="e\u0301" * 64, email="u@example.com", password="password").username == "é" * 64
    # It has no composed form, and is three characters.
    assert set(_refused(NewUser, username="\ufb2c" * 64, email="u@example.com", password="password")) == {"username"}


def test_all_errors_of_a_body_are_reported_at_once() -> None:
    found = _refused(NewArticle, title=" ", description="d\x00", body="", tagList=["a\nb"])
    assert set(found) == {"title", "description", "body", "tagList"}


@pytest.mark.parametrize("name", [".", "..", "a/b", "a\x00", "a\nb", "\x7f"])
def test_a_username_that_has_a_meaning_in_a_path_is_refused(name: str) -> None:
    assert set(_refused(NewUser, username=name, email="u@example.com", password="password")) == {"username"}


@pytest.mark.parametrize(
    "name",
    [
        *("\u200b", "\u3164", "jo\u200b", "jo\u200d", "\u202ejo"),
        *("jo\u2066", "jo\ufe0f", "j\u00ado", "jo\u115f", "jo\ue000"),
        *("jo\u200d🙂", "🙂\u200d", "🙂\u200djo", "\ufe0f"),
    ],
    ids=ascii,
)
def test_a_name_has_nothing_that_a_reader_cannot_see(name: str) -> None:
    """Else two users look the same."""
    given = {"email": "u@example.com", "password": "password"}
    assert set(_refused(NewUser, username=name, **given)) == {"username"}
    assert set(_refused(UserChanges, username=name)) == {"username"}
    article = {"title": "t", "description": "d", "body": "b"}
    assert set(_refused(NewArticle, **article, tagList=[name])) == {"tagList"}


@pytest.mark.parametrize("space", ["\u00a0", "\u2002", "\u2009", "\u3000", "  "], ids=ascii)
def test_a_name_has_single_ordinary_spaces_only(space: str) -> None:
    """Else two users look the same. At its ends they are left out."""
    name = f"Jo{space}Smith"
    given = {"email": "u@example.com", "password": "password"}
    refused = {"username": ["must not contain spaces other than single ordinary ones"]}
    assert _refused(NewUser, username=name, **given) == refused
    assert _refused(UserChanges, username=name) == refused
    article = {"title": name, "description": name, "body": name}
    found = _refused(NewArticle, **article, tagList=["Jo Smith", name])
    assert found == {"tagList": ["has a tag with spaces other than single ordinary ones"]}
    assert NewUser(username=f"{space}Jo Smith{space}", **given).username == "Jo Smith"


@pytest.mark.parametrize(
    "name",
    ["Zoë", "李小龍", "محمد", "क्\u200dष", "می\u200cخواهم", "Jo Smith", "x_1.y-z", "🙂❤\ufe0f", "👩\u200d👧👋🏽"],
    ids=ascii,
)
def test_names_of_all_scripts_are_taken(name: str) -> None:
    assert _refused(NewUser, username=name, email="u@example.com", password="password") == {}
    assert _refused(NewArticle, title=name, description=name, body=name, tagList=[name]) == {}


@pytest.mark.parametrize("blank", ["\u200b", "\u3164 \u2800", "\u200e\u200f", "\u00ad"], ids=ascii)
def test_what_is_shown_shows_something(blank: str) -> None:
    found = _refused(NewArticle, title=blank, description=blank, body=blank)
    assert found == {field: ["can't be blank"] for field in ("title", "description", "body")}
    assert _refused(NewComment, body=blank) == {"body": ["can't be blank"]}


def test_a_title_or_description_does_not_turn_what_stands_beside_it() -> None:
    for field in ("title", "description"):
        article = {"title": "t", "description": "d", "body": "b \u202eb"}
        assert set(_refused(NewArticle, **article | {field: "a \u202eb"})) == {field}
        assert set(_refused(ArticleChanges, **{field: "a \u2066b"})) == {field}
        assert _refused(NewArticle, **article | {field: "שלום\u200f!"}) == {}


def test_a_new_password_is_long_enough_and_an_old_one_may_be_short() -> None:
    short = ["is too short (at least 8 characters)"]
    assert _refused(NewUser, username="u", email="u@example.com", password="1234567") == {"password": short}
    assert _refused(UserChanges, password="1234567") == {"password": short}
    assert _refused(UserChanges, password="ééééééé") == {"password": short}
    assert _refused(UserChanges, password="12345678") == {}
    assert _refused(Login, email="u@example.com", password="1") == {}


def test_an_empty_change_is_refused_and_only_given_fields_change() -> None:
    for model in (ArticleChanges, UserChanges):
        assert list(_refused(model)) == ["body"]
        assert list(_refused(model, more=1)) == ["body"]
    assert UserChanges.model_validate({"bio": None}).model_dump(exclude_unset=True) == {"bio": None}
    assert ArticleChanges.model_validate({"tagList": []}).model_dump(exclude_unset=True) == {"tag_list": []}
    assert set(_refused(UserChanges, username=None)) == {"username"}
