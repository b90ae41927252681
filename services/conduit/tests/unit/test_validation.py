"""What a text must be like, and in which form it is kept."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit import validation
from conduit.errors import InvalidError
from conduit.schemas import ArticleChanges, Login, NewArticle, NewUser, UserChanges


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=300))
def test_a_user_that_is_accepted_can_be_stored_and_stands_in_a_path(username: str, email: str, password: str) -> None:
    try:
        user = validation.new_user(NewUser(username, email, password))
    except InvalidError as error:
        unknown = set(error.errors) - {"username", "email", "password"}
    else:
        unknown = set()
        assert user.username == unicodedata.normalize("NFC", user.username.strip())
        assert not set(user.username) & set("/\x00\n\r")
        assert "\x00" not in user.password
    assert not unknown


@given(st.lists(st.text(max_size=60), max_size=25))
def test_tags_that_are_accepted_are_sorted_and_few_and_each_once(tags: list[str]) -> None:
    try:
        kept = validation.new_article(NewArticle("t", "d", "b", tags)).tag_list
    except InvalidError as error:
        blamed = set(error.errors)
    else:
        blamed = {"tagList"}
        assert kept == sorted(set(kept))
        assert len(kept) <= 20
        assert all(tag.strip() and "\x00" not in tag and len(tag) <= 50 for tag in kept)
        assert validation.new_article(NewArticle("t", "d", "b", kept)).tag_list == kept
    assert blamed == {"tagList"}


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" Jo@Example.COM ", "jo@example.com"),
        ("jo@MÜLLER.example", "jo@müller.example"),
        ("jo@xn--mller-kva.example", "jo@müller.example"),
        ("jo+tag@mail.test", "jo+tag@mail.test"),
    ],
)
def test_an_address_is_kept_in_one_spelling_for_signing_up_and_in(typed: str, kept: str) -> None:
    assert validation.new_user(NewUser("jo", typed, "p")).email == kept
    assert validation.login(Login(typed, "p")).email == kept
    assert validation.user_changes(UserChanges(email=typed)).email == kept


def test_what_is_no_address_signs_nobody_in_and_is_no_error_of_form() -> None:
    assert validation.login(Login(" Nobody ", "p")).email == "nobody"


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidError) as refused:
        validation.new_article(NewArticle(" ", "d\x00", "", ["a\nb"]))
    assert set(refused.value.errors) == {"title", "description", "body", "tagList"}


def test_a_change_of_nothing_is_refused() -> None:
    for check in (
        lambda: validation.article_changes(ArticleChanges()),
        lambda: validation.user_changes(UserChanges()),
    ):
        with pytest.raises(InvalidError):
            check()
