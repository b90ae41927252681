"""How the app's process starts."""

import gc
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from conduit import __main__ as process
from conduit import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_until_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, int]] = []

    def serve(*_: object) -> int:
        seen.append((gc.isenabled(), gc.get_freeze_count()))
        process._collect_from_now_on()
        seen.append((gc.isenabled(), gc.get_freeze_count()))
        return 0

    monkeypatch.setattr(process, "_run", serve)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(logs, "configure", lambda: None)
    monkeypatch.setattr(process, "Settings", lambda: SimpleNamespace(jwt_secret=None))
    assert process.main(["migrate"]) == 0
    (before, _), (after, frozen) = seen
    assert (before, after) == (False, True)
    assert frozen > 10_000, "what was imported"
