"""Writers and faults: what goes wrong with the check itself is told, and is no verdict."""

import time
from functools import partial
from typing import Any

import httpx
import pytest

from loadtests.check import faults, writers
from loadtests.check.ledger import count
from loadtests.experiments import harm
from loadtests.experiments.scene import CannotError


class _Failing:
    def write(self, hang_up: bool = False) -> None:  # noqa: ARG002 - as a writer takes it
        raise RuntimeError("a writer's own fault")


def test_a_writer_that_fails_is_no_writer_that_lost_nothing() -> None:
    failing: Any = _Failing()
    with pytest.raises(RuntimeError, match="a writer's own fault"), writers.writing([failing]):
        time.sleep(0.05)


@pytest.mark.parametrize("said", ["", "NOAUTH Authentication required.", "ERR unknown command"])
def test_a_fault_that_was_not_caused_is_told(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr(harm, "inside", lambda *_: said)
    (flushed,) = (fault for fault in faults.FAULTS if fault.name == "cache flushed")
    box: Any = type("Box", (), {"name": "cache"})
    with pytest.raises(CannotError, match="did not do what it should"):
        flushed.cause({"cache": box})


def test_an_article_that_is_gone_with_its_report_is_lost_and_not_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage acknowledges everything, and then knows of nothing."""

    def forgetful(request: httpx.Request) -> httpx.Response:
        if request.method != "GET":
            made = {"user": {"token": "t"}, "article": {"slug": "a-1"}, "report": {"id": 7}}
            return httpx.Response(201, json=made)
        if request.url.path == "/api/articles":
            return httpx.Response(200, json={"articles": []})
        return httpx.Response(404, json={"errors": {"article": ["not found"]}})

    transport = httpx.MockTransport(forgetful)
    monkeypatch.setattr(httpx, "Client", partial(httpx.Client, transport=transport))
    writer = writers.Writer("http://stage")
    writer.write()
    lost = {kind: len(of_it.lost) for kind, of_it in _counted(writer).items()}
    assert lost == {"article": 1, "comment": 1, "favourite": 1, "cover": 1, "report": 1}


def _counted(writer: writers.Writer) -> dict[str, Any]:
    return dict(count(writer.creations, writer.there(), writer.changes, writer.shown()))
