"""A box's memory headroom, from version 1 and 2 of the kernel's control groups."""

from pathlib import Path

import pytest

from conduit import memory_headroom
from conduit.errors import UnavailableError

MB = 1 << 20


def _version_2(folder: Path, limit: str = str(256 * MB)) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{200 * MB}\n")
    (folder / "memory.stat").write_text(
        f"anon {90 * MB}\nactive_file {20 * MB}\ninactive_file {30 * MB}\nshmem {9 * MB}\n"
    )
    return folder


def _version_1(folder: Path, limit: str = str(256 * MB)) -> Path:
    inside = folder / "memory"
    inside.mkdir()
    (inside / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (inside / "memory.usage_in_bytes").write_text(f"{200 * MB}\n")
    (inside / "memory.stat").write_text(
        f"active_file 0\ninactive_file 0\ntotal_active_file {20 * MB}\ntotal_inactive_file {30 * MB}\n"
    )
    return folder


@pytest.mark.parametrize("version", [_version_1, _version_2])
def test_the_page_cache_counts_as_free(version: object, tmp_path: Path) -> None:
    assert callable(version)
    assert memory_headroom.left(version(tmp_path)) == (256 - 200 + 50) * MB


def test_without_a_limit_the_headroom_is_none(tmp_path: Path) -> None:
    assert memory_headroom.left(tmp_path / "nothing") is None
    assert memory_headroom.left(_version_2(tmp_path, "max")) is None


def test_the_largest_number_of_cgroup_v1_is_no_limit(tmp_path: Path) -> None:
    assert memory_headroom.left(_version_1(tmp_path, "9223372036854771712")) is None


def test_work_that_would_leave_too_little_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_headroom, "left", lambda: 50 * MB)
    memory_headroom.require(50 * MB - memory_headroom.MARGIN_BYTES, "room")
    with pytest.raises(UnavailableError, match="room is unavailable"):
        memory_headroom.require(50 * MB - memory_headroom.MARGIN_BYTES + 1, "room")
    monkeypatch.setattr(memory_headroom, "left", lambda: None)
    memory_headroom.require(1 << 40, "room")


def test_what_was_never_left_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_headroom, "_most_left", None)
    assert memory_headroom.fits_at_rest(1 << 40), "there is no limit"
    monkeypatch.setattr(memory_headroom, "left", lambda: 50 * MB)
    memory_headroom.note_start()
    monkeypatch.setattr(memory_headroom, "left", lambda: 10 * MB)
    assert memory_headroom.fits_at_rest(50 * MB - memory_headroom.MARGIN_BYTES)
    assert not memory_headroom.fits_at_rest(50 * MB - memory_headroom.MARGIN_BYTES + 1)


@pytest.mark.parametrize("seen", ["when it is asked", "when memory was required"])
def test_a_box_that_restarts_under_load_finds_out_what_it_has_at_rest(
    monkeypatch: pytest.MonkeyPatch, seen: str
) -> None:
    monkeypatch.setattr(memory_headroom, "_most_left", None)
    monkeypatch.setattr(memory_headroom, "left", lambda: 30 * MB)
    memory_headroom.note_start()
    assert not memory_headroom.fits_at_rest(50 * MB - memory_headroom.MARGIN_BYTES)
    monkeypatch.setattr(memory_headroom, "left", lambda: 50 * MB)
    if seen == "when memory was required":
        memory_headroom.require(1, "room")
        monkeypatch.setattr(memory_headroom, "left", lambda: 10 * MB)
    assert memory_headroom.fits_at_rest(50 * MB - memory_headroom.MARGIN_BYTES)
    assert not memory_headroom.fits_at_rest(50 * MB - memory_headroom.MARGIN_BYTES + 1)
