"""What every Media adapter does, whatever keeps the files."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conduit.adapters.media_disk import DiskMedia
from conduit.errors import UnavailableError
from conduit.media_names import cover_file, digest_of, report_file, upload_file
from conduit.ports import Media
from conduit_testing.client import fresh


def _on_disk(directory: Path) -> Iterator[Media]:
    yield DiskMedia(directory / "media")


_ADAPTERS: dict[str, Callable[[Path], Iterator[Media]]] = {"disk": _on_disk}


@pytest.fixture(params=_ADAPTERS.values(), ids=list(_ADAPTERS))
def media(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Media]:
    """A place for files, empty."""
    yield from request.param(tmp_path)


def _public() -> str:
    return cover_file(digest_of(fresh().encode()), "small")


@pytest.mark.parametrize("content", [b"", b"content", bytes(range(256)) * 20_000], ids=["empty", "short", "5 MB"])
@pytest.mark.parametrize("name", [_public(), report_file(7)], ids=["public", "private"])
def test_what_is_put_is_got(media: Media, name: str, content: bytes) -> None:
    media.put(name, content, "image/webp")
    assert media.get(name) == content


def test_what_was_never_put_or_is_deleted_is_not_there(media: Media) -> None:
    name = _public()
    assert media.get(name) is None
    media.delete(name)
    media.put(name, b"content", "image/webp")
    media.delete(name)
    assert media.get(name) is None
    media.delete(name)


def test_what_is_put_again_is_replaced(media: Media) -> None:
    name = _public()
    for content in (b"the first, which is longer", b"second"):
        media.put(name, content, "image/webp")
        assert media.get(name) == content


def test_whoever_reads_while_it_is_written_gets_one_or_the_other_whole(media: Media) -> None:
    name = _public()
    contents = [bytes([number]) * 500_000 for number in range(8)]
    media.put(name, contents[0], "image/webp")
    with ThreadPoolExecutor(8) as threads:
        writing = [threads.submit(media.put, name, content, "image/webp") for content in contents * 3]
        while not all(future.done() for future in writing):
            assert media.get(name) in contents
        for future in writing:
            future.result()


def test_a_public_file_has_an_address_that_only_its_name_decides(media: Media) -> None:
    name = _public()
    address = media.url(name)
    media.put(name, b"content", "image/webp")
    assert media.url(name) == address
    assert address.endswith(f"/media/{name.removeprefix('public/')}")
    assert media.url(_public()) != address


def test_a_private_file_has_none(media: Media) -> None:
    with pytest.raises(ValueError, match="not public"):
        media.url(report_file(7))


@pytest.mark.parametrize("name", ["public/../private/x", "/etc/passwd", "elsewhere/x", "public/.hidden", "public/a b"])
def test_what_is_no_name_is_refused(media: Media, name: str) -> None:
    for use in (media.get, media.delete, lambda bad: media.put(bad, b"", "text/plain")):
        with pytest.raises(ValueError, match="no name"):
            use(name)


# The disk alone ---------------------------------------------------------------------------------------------


def test_a_disk_that_can_not_be_written_is_unavailable_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = DiskMedia(tmp_path)
    name = _public()
    media.put(name, b"before", "image/webp")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(UnavailableError):
            media.put(name, b"after", "image/webp")
    assert media.get(name) == b"before"
    assert [path.name for path in (tmp_path / "public").iterdir()] == [name.removeprefix("public/")]


def test_what_a_process_left_is_found_and_halves_are_deleted(tmp_path: Path) -> None:
    media = DiskMedia(tmp_path)
    assert media.left_in("private/uploads") == []
    names = [upload_file(digest_of(fresh().encode()), number) for number in (7, 8)]
    for name in names:
        media.put(name, b"content", "image/webp")
    media.put(report_file(7), b"content", "text/csv")
    (tmp_path / "private/uploads/.half").write_bytes(b"con")
    assert sorted(media.left_in("private/uploads")) == sorted(names)
    assert len(list((tmp_path / "private/uploads").iterdir())) == 2
    assert media.get(report_file(7)) == b"content"


def test_a_place_that_is_no_directory_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    media = DiskMedia(tmp_path / "file")
    for use in (media.get, media.delete, lambda name: media.put(name, b"", "image/webp")):
        with pytest.raises(UnavailableError):
            use(_public())
