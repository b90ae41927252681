"""Names of files: made from their content, and all others are refused."""

import hashlib

import pytest

from conduit import media_names


def test_a_digest_is_of_the_recipe_and_the_bytes() -> None:
    digest = media_names.digest_of(b"an image")
    assert digest == hashlib.sha256(media_names.RECIPE + b"\nan image").hexdigest()[:32]
    assert digest != media_names.digest_of(b"another")


def test_made_names_are_valid_and_only_public_ones_are_cover_files() -> None:
    digest = media_names.digest_of(b"x")
    public = [media_names.cover_file(digest, size) for size in media_names.SIZES]
    private = [media_names.upload_file(digest, 7), media_names.report_file(7)]
    for name in (*public, *private):
        assert media_names.checked(name) == name
    assert all(media_names.is_cover_file(name.removeprefix("public/")) for name in public)
    assert not any(media_names.is_cover_file(name) for name in (*public, *private))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "public",
        "public/",
        "other/x",
        "/etc/passwd",
        "public/../private/x",
        "public/..",
        "public/.hidden",
        "public/a//b",
        "public/a/b/c/d",
        "public/A",
        "public/a\n",
        "public/a\x00",
        "public/é",
        "public/" + "x" * 101,
        "private/../../x",
    ],
)
def test_invalid_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a valid"):
        media_names.checked(name)


@pytest.mark.parametrize(
    "name", ["", "x.webp", "0" * 32 + "-huge.webp", "0" * 32 + "-small.webp\n", "G" * 32 + "-small.webp"]
)
def test_other_names_are_not_cover_files(name: str) -> None:
    assert not media_names.is_cover_file(name)
