"""Covers of articles: uploading, replacing and removing them, refused uploads, and their files."""

import io
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from conduit_testing.client import Api, Person, boundaries, errors
from conduit_testing.pictures import (
    CAMERA,
    FORMATS,
    animated,
    bomb,
    encoded,
    photographed,
    picture,
    png,
    upload,
    with_many_scans,
)

ADDRESS = re.compile(r"/media/[0-9a-f]{32}-(small|medium|large)\.webp")
LIMIT = 5_000_000
NOT_YET = {"state": "pending", "small": None, "medium": None, "large": None}


@pytest.fixture
def slug(jo: Person) -> str:
    return jo.slug()


def cover_of(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 200, response.text
    cover: dict[str, str] = response.json()["article"]["cover"]
    return cover


def shown(api: Api, address: str) -> Image.Image:
    response = api.http.get(address)
    assert response.status_code == 200
    return Image.open(io.BytesIO(response.content))


@pytest.mark.parametrize("kind", FORMATS)
def test_an_upload_becomes_three_public_files(api: Api, jo: Person, slug: str, kind: str) -> None:
    response = jo.upload(slug, upload(kind, 900, 600))
    cover = jo.settled_cover(slug, cover_of(response))
    assert list(cover) == ["state", "small", "medium", "large"]
    assert cover["state"] == "ready"
    for size, (width, height) in {"small": (320, 213), "medium": (800, 533), "large": (900, 600)}.items():
        match = ADDRESS.fullmatch(cover[size])
        assert match
        assert match.group(1) == size
        image = shown(api, cover[size])
        assert (image.format, image.size) == ("WEBP", (width, height))
    # Made by a worker, it took no time of this request and is still pending.
    assert cover_of(response) == (cover if "image" in boundaries(response) else NOT_YET)
    assert response.json()["article"] | {"cover": cover} == jo.article(slug)


def test_a_cover_is_in_every_list_and_survives_changes_of_the_article(
    api: Api, jo: Person, ann: Person, slug: str
) -> None:
    ann.follow(jo)
    without = ann.slug()
    cover = jo.cover(slug, upload())
    ann.favorite(slug)
    for listed in (
        api.get("/articles", author=jo.username),
        api.get("/articles", favorited=ann.username),
        ann.get("/articles", author=jo.username),
        ann.get("/articles/feed"),
    ):
        assert [one["cover"] for one in listed.json()["articles"]] == [cover]
    assert api.article(without)["cover"] is None
    assert cover_of(jo.put(f"/articles/{slug}", {"article": {"title": "Another"}})) == cover
    assert cover_of(ann.post(f"/articles/{slug}/favorite")) == cover
    assert cover_of(ann.delete(f"/articles/{slug}/favorite")) == cover


def test_another_upload_replaces_the_cover_and_the_former_files_stay(api: Api, jo: Person, slug: str) -> None:
    first = jo.cover(slug, upload("PNG"))
    second = jo.cover(slug, upload("JPEG"))
    assert not set(first.values()) & set(second.values()) - {"ready"}
    assert api.article(slug)["cover"] == second
    for address in (*list(first.values())[1:], *list(second.values())[1:]):
        assert api.http.get(address).status_code == 200


def test_the_same_upload_has_the_same_names_and_is_not_made_again(jo: Person, ann: Person, slug: str) -> None:
    content = upload("PNG", 300, 200)
    first = jo.cover(slug, content)
    again = jo.upload(slug, content)
    assert cover_of(again) == first
    assert "image" not in boundaries(again)
    elsewhere = ann.slug()
    assert ann.cover(elsewhere, content) == first
    assert jo.delete(f"/articles/{slug}/cover").json()["article"]["cover"] is None
    assert ann.article(elsewhere)["cover"] == first
    assert ann.http.get(first["large"]).status_code == 200
    assert jo.cover(slug, content) == first


def test_removing_a_cover_is_idempotent(api: Api, jo: Person, slug: str) -> None:
    before = api.article(slug)
    jo.upload(slug, upload())
    for _ in range(2):
        response = jo.delete(f"/articles/{slug}/cover")
        assert response.status_code == 200
        assert response.json()["article"] == before
    assert api.article(slug) == before


@pytest.mark.parametrize("kind", FORMATS)
def test_a_photograph_is_turned_upright_and_loses_its_metadata(api: Api, jo: Person, slug: str, kind: str) -> None:
    content = photographed(kind, 6, 90, 60)
    given = Image.open(io.BytesIO(content))
    assert (given.size, given.getexif()[271]) == ((60, 90), CAMERA)
    assert given.getexif().get_ifd(0x8825)
    cover = jo.cover(slug, content)
    for size in ("small", "medium", "large"):
        file = api.http.get(cover[size]).content
        assert not any(part in file for part in (b"EXIF", b"XMP ", b"ICCP", CAMERA.encode()))
        image = Image.open(io.BytesIO(file)).convert("RGB")
        assert image.size == (90, 60)
        left, right = image.getpixel((5, 30)), image.getpixel((85, 30))
        assert isinstance(left, tuple)
        assert isinstance(right, tuple)
        # Red on the left, blue on the right.
        assert left[0] > 200
        assert right[2] > 200
        assert max(left[2], right[0]) < 60


def test_the_content_type_of_an_upload_is_ignored(jo: Person, slug: str) -> None:
    for said in ("image/gif", "text/plain", "application/json", "multipart/form-data; boundary=x", "nonsense"):
        response = jo.call("PUT", f"/articles/{slug}/cover", content=upload(), headers={"Content-Type": said})
        assert jo.settled_cover(slug, cover_of(response))["state"] == "ready"


REFUSED = {
    "nothing": (b"", "is empty"),
    "text": (b"hello", "is not a PNG, JPEG or WebP image"),
    "json": (b'{"image": "x"}', "is not a PNG, JPEG or WebP image"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "is not a PNG, JPEG or WebP image"),
    "GIF": (encoded(picture(), "GIF"), "is not a PNG, JPEG or WebP image"),
    "animated GIF": (animated("GIF"), "is not a PNG, JPEG or WebP image"),
    "GIF that goes on as a PNG": (b"GIF89a" + upload(), "is not a PNG, JPEG or WebP image"),
    "TIFF": (encoded(picture(), "TIFF"), "is not a PNG, JPEG or WebP image"),
    "animated PNG": (animated("PNG"), "is animated"),
    "animated WebP": (animated("WEBP"), "is animated"),
    **{f"{kind} cut short": (upload(kind, 90, 60)[:-40], "is truncated") for kind in FORMATS},
    **{f"{kind}'s first bytes": (upload(kind)[:7], "is truncated") for kind in FORMATS},
    "bomb": (bomb(), "has more than 24 megapixels"),
    "just too large": (png(5_657, 4_243, b""), "has more than 24 megapixels"),
    "too long": (png(16_384, 1, b""), "is more than 16383 pixels wide or high"),
    "JPEG of a thousand scans": (with_many_scans(1_000), "is damaged"),
}
# Only decoding finds the damage: inside the request, or after it.
DAMAGED = {
    "PNG whose pixels end early": (png(40, 40, b"\0" * 1_000), "is damaged"),
    "PNG that contradicts itself": (png(40, 40, b"\x09" * 8_000), "is damaged"),
}


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED)
def test_an_upload_that_cannot_be_a_cover_is_422_with_a_reason_and_changes_nothing(
    api: Api, jo: Person, slug: str, content: bytes, reason: str
) -> None:
    for before in (None, jo.cover(jo.slug(), upload())):
        if before is not None:
            jo.cover(slug, upload())
        response = jo.upload(slug, content)
        assert response.status_code == 422
        assert errors(response) == {"cover": [reason]}
        assert api.article(slug)["cover"] == before


@pytest.mark.parametrize(("content", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_damage_found_by_decoding_is_refused_at_once_or_fails_the_cover(
    jo: Person, slug: str, content: bytes, reason: str
) -> None:
    for first in (None, upload()):
        before = None if first is None else jo.cover(slug, first)
        response = jo.upload(slug, content)
        if response.status_code == 422:
            assert errors(response) == {"cover": [reason]}
            assert jo.article(slug)["cover"] == before
        else:
            assert jo.settled_cover(slug, cover_of(response)) == NOT_YET | {"state": "failed"}


@pytest.mark.parametrize("kind", FORMATS)
def test_data_behind_an_image_is_not_published(api: Api, jo: Person, slug: str, kind: str) -> None:
    hidden = b"PK\x03\x04 <?php system($_GET[0]); ?> <script>alert(1)</script>"
    cover = jo.cover(slug, upload(kind) + hidden)
    for size in ("small", "medium", "large"):
        response = api.http.get(cover[size])
        assert response.headers["content-type"] == "image/webp"
        assert b"script" not in response.content
        assert b"PK\x03\x04" not in response.content


def test_five_megabytes_are_accepted_and_more_is_413(api: Api, jo: Person, slug: str) -> None:
    most = upload("PNG")
    most += b"\0" * (LIMIT - len(most))

    def in_pieces(content: bytes) -> Iterator[bytes]:
        for start in range(0, len(content), 65_536):
            yield content[start : start + 65_536]

    assert jo.cover(slug, most)["state"] == "ready"
    assert jo.cover(slug, in_pieces(most))["state"] == "ready"
    cover = api.article(slug)["cover"]
    for content in (most + b"\0", in_pieces(most + b"\0"), in_pieces(bytes(2 * LIMIT))):
        response = jo.upload(slug, content)
        assert response.status_code == 413
        assert errors(response) == {"body": [f"is larger than {LIMIT} bytes"]}
    assert api.article(slug)["cover"] == cover


def test_only_the_author_changes_a_cover(api: Api, jo: Person, ann: Person, slug: str) -> None:
    cover = jo.cover(slug, upload())
    path = f"/articles/{slug}/cover"
    for response in (api.call("PUT", path, content=upload("JPEG")), api.delete(path)):
        assert (response.status_code, response.json()) == (401, {"errors": {"token": ["is missing"]}})
    for response in (ann.upload(slug, upload("JPEG")), ann.upload(slug, b"no image"), ann.delete(path)):
        assert (response.status_code, response.json()) == (403, {"errors": {"article": ["forbidden"]}})
    assert api.article(slug)["cover"] == cover


@pytest.mark.parametrize("unknown", ["no-such-thing-1", "nothing", "0"])
def test_a_cover_of_an_unknown_article_is_404(jo: Person, unknown: str) -> None:
    for response in (jo.upload(unknown, upload()), jo.delete(f"/articles/{unknown}/cover")):
        assert (response.status_code, response.json()) == (404, {"errors": {"article": ["not found"]}})


def test_a_deleted_articles_cover_is_gone_too(jo: Person, slug: str) -> None:
    jo.upload(slug, upload())
    assert jo.delete(f"/articles/{slug}").status_code == 204
    assert jo.upload(slug, upload()).status_code == 404


def test_a_file_may_be_cached_forever(api: Api, jo: Person, slug: str) -> None:
    address = jo.cover(slug, upload())["small"]
    response = api.http.get(address)
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["content-type"] == "image/webp"
    tag = response.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        unchanged = api.http.get(address, headers={"If-None-Match": known})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["cache-control"] == response.headers["cache-control"]
        assert unchanged.headers["etag"] == tag
    changed = api.http.get(address, headers={"If-None-Match": '"other"'})
    assert (changed.status_code, changed.content) == (200, response.content)
    head = api.http.head(address)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(response.content))


@pytest.mark.parametrize(
    "name",
    [
        "0" * 32 + "-small.webp",
        "0" * 32 + "-huge.webp",
        "..%2fprivate%2freports%2f1.csv",
        "../private/reports/1.csv",
        "%2e%2e/%2e%2e/etc/passwd",
        "%2e%2e",
        "%00",
        "private",
        "public",
        ".",
        "x" * 3_000,
    ],
)
def test_an_unknown_file_is_404(api: Api, name: str) -> None:
    # To NGINX, where one stands before the app, a NUL and a way out of the root are no paths.
    refusals = (400, 404) if "%00" in name or name.count("%2e%2e") > 1 else (404,)
    response = api.http.get(f"/media/{name}")
    assert response.status_code in refusals
    unknown: Any = api.http.get(f"/media/{name}", headers={"If-None-Match": "*"})
    assert unknown.status_code in refusals
