"""Pictures that the program draws, and which article gets which."""

import hashlib
import io
import random
import tarfile
from collections import Counter

import pytest
from PIL import Image, ImageOps

from conduit import media_names
from conduit.media_names import checked
from data.pictures import motifs
from data.pictures.photos import another, photos
from data.seed import covers, vocabulary
from data.seed.command import main
from data.seed.population import populate
from data.seed.rows import Rows
from data.seed.sizes import Size
from data.tests.support import DIGESTS, rows_of, value_of
from infra.stage.media import SEED_MANIFEST

# Raise sizes.VERSION with this: files are named after what was drawn.
FIRST_OF_EACH_THEME = "80e2eaf35297908e61f2a93e9cc6e86e454264fb0a9f48d2f3c0488c1ce4f587"


@pytest.fixture(scope="module")
def first_of_each_theme() -> list[bytes]:
    return [covers.upload(theme * covers.VARIANTS) for theme in range(len(vocabulary.THEMES))]


def test_every_theme_has_a_motif_and_as_many_covers() -> None:
    assert len(motifs.MOTIFS) == len(vocabulary.THEMES)
    numbers = [covers.of_theme(theme, u) for theme in range(len(vocabulary.THEMES)) for u in (0.0, 0.26, 0.51, 0.999)]
    assert numbers == list(range(covers.COUNT))


def test_covers_are_the_same_to_the_byte(first_of_each_theme: list[bytes]) -> None:
    assert hashlib.sha256(b"".join(first_of_each_theme)).hexdigest() == FIRST_OF_EACH_THEME


def test_covers_are_pictures_that_the_app_takes_and_differ(first_of_each_theme: list[bytes]) -> None:
    seen = [*first_of_each_theme, covers.upload(1)]
    assert len(set(seen)) == len(seen)
    for content in seen:
        assert len(content) < 5_000_000
        picture = Image.open(io.BytesIO(content))
        assert (picture.format, picture.size) == ("JPEG", (1600, 900))
        # Something is drawn: no colour, however it is counted, covers nearly all.
        colours = Counter(picture.resize((160, 90)).quantize(16).get_flattened_data())
        assert max(colours.values()) < 0.7 * 160 * 90


def test_files_come_as_the_app_names_them_with_a_manifest_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covers, "COUNT", 2)
    names, files = drawn("")
    assert names[-1] == covers.MANIFEST == SEED_MANIFEST
    digests = [media_names.digest_of(covers.upload(number)) for number in range(2)]
    assert names[:-1] == [media_names.cover_file(digest, size) for digest in digests for size in media_names.SIZES]
    for name in names[:-1]:
        assert Image.open(io.BytesIO(files[name])).format == "WEBP"
        assert checked(name)
    widths = [Image.open(io.BytesIO(files[name])).width for name in names[:3]]
    assert widths == list(media_names.SIZES.values())
    header, *lines = files[covers.MANIFEST].decode().splitlines()
    assert header.startswith("#")
    assert lines == [f"{hashlib.sha256(files[name]).hexdigest()}  {name}" for name in names[:-1]]
    # What is there already is not drawn again, but of another version it is.
    manifest = files[covers.MANIFEST].decode()
    assert drawn(manifest) == ([covers.MANIFEST], {covers.MANIFEST: files[covers.MANIFEST]})
    assert drawn(manifest.replace("version", "version 1")) == (names, files)


def drawn(manifest: str) -> tuple[list[str], dict[str, bytes]]:
    """The files of the command's archive, given a manifest."""
    out = io.BytesIO()
    covers.main(manifest, out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        found = {}
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            found[member.name] = file.read()
    return list(found), found


@pytest.mark.slow
def test_photographs_are_a_phones_and_within_what_the_app_takes() -> None:
    taken = photos()
    assert 3 <= len(taken) <= 8
    assert min(map(len, taken)) > 300_000
    assert 1_500_000 < max(map(len, taken)) < 2_500_000
    pictures = [Image.open(io.BytesIO(photo)) for photo in taken]
    assert {picture.format for picture in pictures} == {"JPEG"}
    assert max(picture.width * picture.height for picture in pictures) <= 8_000_000
    turned = [picture for picture in pictures if ImageOps.exif_transpose(picture).size != picture.size]
    assert 0 < len(turned) < len(taken)


@pytest.mark.slow
def test_no_upload_is_the_same_file_twice() -> None:
    photo, rng = photos()[0], random.Random(1)
    files = {another(photo, rng) for _ in range(50)}
    assert len(files) == 50
    shown = {Image.open(io.BytesIO(file)).resize((8, 8)).tobytes() for file in list(files)[:3]}
    assert shown == {Image.open(io.BytesIO(photo)).resize((8, 8)).tobytes()}


def test_a_third_of_the_articles_has_a_cover_of_its_theme(small: str) -> None:
    articles, covered = rows_of(small, "SELECT count(*), count(cover_digest) FROM articles")[0]
    assert covered / articles == pytest.approx(1 / 3, abs=0.015)
    assert value_of(small, "SELECT count(*) FROM articles WHERE cover_state <> 'ready'") == 0
    used = rows_of(small, "SELECT cover_digest, tag_list FROM articles WHERE cover_digest IS NOT NULL")
    assert {digest for digest, _ in used} == set(DIGESTS)
    theme_of = {name: vocabulary.THEME_OF_TAG[number] for number, name in enumerate(vocabulary.TAGS)}
    for digest, tags in used:
        assert DIGESTS.index(digest) // covers.VARIANTS in {theme_of[tag] for tag in tags}


def test_without_covers_no_article_has_one() -> None:
    rows = Rows(populate(Size("tiny", 30)))
    assert sum(chunk.rows for chunk in rows.of("articles")) > 100
    assert rows.covered == 0


def test_another_number_of_covers_than_the_seeds_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=f"has {covers.COUNT} covers, not 2"):
        Rows(populate(Size("tiny", 30)), ["a", "b"])
    with pytest.raises(SystemExit):
        main(["--size", "small", "--database", "0-63=postgresql://db", "--covers", "a,b"])
    assert f"names 2 covers; the seed has {covers.COUNT}" in capsys.readouterr().err
