"""How the app's process starts."""

import gc
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import prometheus_client
import pytest
import uvicorn

from conduit import __main__ as process
from conduit import bootstrap, logs, server
from conduit import main as conduit_main
from conduit.settings import Settings


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


@pytest.mark.parametrize(("proxies", "turns_away"), [("", True), ("10.0.0.0/8", False)])
def test_only_an_app_without_a_balancer_turns_newcomers_away(
    monkeypatch: pytest.MonkeyPatch, proxies: str, turns_away: bool
) -> None:
    """A balancer would take the box for one that is down."""
    served: list[bool] = []

    class Listening:
        def __init__(self, *_: object, turns_away: bool) -> None:
            served.append(turns_away)

        def run(self) -> None:
            pass

    monkeypatch.setattr(bootstrap, "bootstrap", lambda _: SimpleNamespace(backends={}, addresses={}))
    monkeypatch.setattr(conduit_main, "create_app", lambda *_: None)
    monkeypatch.setattr(prometheus_client, "start_http_server", lambda _: None)
    monkeypatch.setattr(uvicorn.Config, "bind_socket", lambda _: None)
    monkeypatch.setattr(server, "Server", Listening)
    assert process._serve(Settings(database_url="postgresql+psycopg://nowhere/", trusted_proxies=proxies)) == 0
    assert served == [turns_away]
