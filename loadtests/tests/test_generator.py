"""The generator, as a process, against servers whose behaviour is known."""

import json
import math
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from loadtests import raw
from loadtests.load.histogram import STEP

# A generator of its own for each test, and the seconds of its trials.
pytestmark = pytest.mark.realtime

Start = Callable[[str], "subprocess.Popen[str]"]
Stub = Callable[..., str]


def run(process: "subprocess.Popen[str]", **trial: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One trial: its result and every other line said."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"trial": {"mix": "browse"} | trial}) + "\n")
    process.stdin.flush()
    others: list[dict[str, Any]] = []
    for line in process.stdout:
        message = json.loads(line)
        if "result" in message:
            return message["result"], others
        others.append(message)
    raise AssertionError(f"the generator ended: {others}")


def test_sees_a_server_that_freezes(stub: Stub, generator: Start) -> None:
    """Frozen for 1 s in every 5, a server makes a fifth of its users wait, a twentieth more than 750 ms.

    A closed model would wait along and miss it. The truth needs no server's word: an arrival t seconds into a
    freeze waits 1 - t, so over whole periods the 95th percentile is where 0.2 (1 - x) = 0.05.
    """
    process = generator(stub("--freeze"))
    result, _ = run(process, warmup=1, profile=[[15, 150]], seed=3)
    total = result["total"]
    truth = 750
    assert abs(total["p95"] - truth) < 0.1 * truth, total
    assert total["sent"] == total["offered"]
    assert total["errors"] == {}
    assert abs(total["offered"] - 2250) < 4 * math.sqrt(2250), "a Poisson process at the rate that was asked for"
    assert total["p50"] < 100


def test_errors_are_counted_by_kind_and_not_as_quick_answers(stub: Stub, generator: Start) -> None:
    process = generator(stub("--status", "503"))
    result, _ = run(process, profile=[[2, 100]])
    total = result["total"]
    assert total["errors"] == {"status 503": total["offered"]}
    assert total["p95"] is None
    assert total["achieved_rate"] == 0


def test_nobody_there_is_a_connection_error(generator: Start) -> None:
    process = generator("http://127.0.0.1:9")
    result, _ = run(process, profile=[[1, 50]])
    assert set(result["total"]["errors"]) == {"connection"}


PAGE = '<link rel="stylesheet" href="/assets/a.css"><script src="/assets/a.js"></script>'


def test_pages_are_loaded_as_the_stage_has_them_and_304_is_an_answer(stub: Stub, generator: Start) -> None:
    process = generator(stub("--html", PAGE, "--etag", 'W/"1"'))
    result, _ = run(process, mix="pages", profile=[[2, 300]])
    assert result["total"]["errors"] == {}
    assert result["total"]["answered"] == result["total"]["offered"]
    assert {"GET /", "GET /article/{slug}", "GET /assets/{name}", "GET /media/{name}"} <= set(result["routes"])


def test_a_part_that_is_left_out_leaves_the_others_as_they_were(stub: Stub, generator: Start) -> None:
    process = generator(stub("--html", PAGE, "--etag", 'W/"1"'))
    whole, _ = run(process, mix="pages", profile=[[2, 300]], seed=5)
    rest, _ = run(process, mix="pages", profile=[[2, 300]], seed=5, without=["assets", "covers"])
    left_out = {"GET /assets/{name}", "GET /media/{name}"}
    assert rest["without"] == ["assets", "covers"]
    assert set(rest["routes"]) == set(whole["routes"]) - left_out
    # The same people come at the same times.
    for route in rest["routes"]:
        assert rest["routes"][route]["offered"] == pytest.approx(whole["routes"][route]["offered"], abs=2), route


def test_a_stage_without_pages_gives_no_such_trial(stub: Stub, generator: Start) -> None:
    process = generator(stub())
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write('{"trial": {"mix": "pages", "profile": [[1, 10]]}}\n')
    process.stdin.flush()
    process.stdout.readline()
    error = json.loads(process.stdout.readline())["error"]
    assert error["kind"] == "site"
    assert "names no assets" in error["text"]


def test_a_cover_follows_its_publishing_and_both_together_are_timed(stub: Stub, generator: Start) -> None:
    process = generator(stub())
    result, _ = run(process, mix="publish", profile=[[3, 200]])
    total, routes = result["total"], result["routes"]
    assert total["errors"] == {}
    assert abs(total["offered"] - 600) < 4 * math.sqrt(600), "what follows is part of the rate"
    journey = result["journeys"]["publishing with a cover"]
    assert journey["count"] == routes["PUT /api/articles/{slug}/cover"]["offered"] > 5
    assert journey["failed"] == 0
    assert len(journey["waits_ms"]) == journey["count"]
    assert journey["waits_ms"] == sorted(journey["waits_ms"])
    rest, _ = run(process, mix="publish", profile=[[1, 200]], without=["cover"])
    assert rest["journeys"] == {}
    assert "POST /api/articles" in rest["routes"]
    assert "PUT /api/articles/{slug}/cover" not in rest["routes"]


def test_an_answer_that_nothing_can_follow_from_is_an_error(stub: Stub, generator: Start) -> None:
    process = generator(stub("--vague"))
    result, _ = run(process, mix="publish", profile=[[2, 200]])
    assert set(result["total"]["errors"]) == {"an answer that nothing can follow from"}
    journey = result["journeys"]["publishing with a cover"]
    assert journey["failed"] == journey["count"] > 0
    assert journey["waits_ms"] == []


def test_an_overloaded_queue_and_back(stub: Stub, generator: Start) -> None:
    """Offered twice its capacity of 200/s a queue of 60 answers 200/s and refuses the rest.

    Afterwards all is well.
    """
    process = generator(stub("--service", "0.005", "--slots", "60"))
    result, others = run(process, warmup=0.5, profile=[[3, 400], [3, 100]])
    over, back = result["stretches"]
    assert over["goodput"] == pytest.approx(200, rel=0.1)
    assert over["errors"]["status 503"] > 400
    assert over["p50"] == pytest.approx(300, rel=0.3), "sixty in the queue, 5 ms each; a stall would move a p95"
    assert result["series"][-1]["errors"] == 0
    assert back["goodput"] > 95
    assert [other["window"] for other in others if "window" in other] == ["start", "end"]
    progress = [other["progress"] for other in others if "progress" in other]
    assert len(progress) >= 5
    assert {"rate", "achieved", "p95", "errors", "in_flight", "cpu_share"} <= set(progress[0])


def test_ends_with_its_input_and_survives_nonsense(stub: Stub, generator: Start) -> None:
    process = generator(stub())
    assert process.stdin is not None
    assert process.stdout is not None
    assert "ready" in json.loads(process.stdout.readline())
    for nonsense in (
        "{}",
        "[",
        '{"trial": {"mix": "no such", "profile": [[1, 1]]}}',
        '{"trial": {"mix": "feed", "profile": [[1, 1]], "without": ["covers"]}}',
    ):
        process.stdin.write(nonsense + "\n")
        process.stdin.flush()
        assert "error" in json.loads(process.stdout.readline())
    process.stdin.write('{"trial": {"mix": "browse", "profile": [[60, 10]]}}\n')
    process.stdin.flush()
    time.sleep(0.5)
    process.stdin.close()
    assert process.wait(timeout=5) == 0, "the end of its input ends a trial, too"


def test_what_goes_out_late_is_told_apart(stub: Stub, generator: Start) -> None:
    """At far more than one core can send, the waits are the generator's own, and it says so of that stretch."""
    process = generator(stub())
    result, _ = run(process, profile=[[2, 50], [0.5, 30_000]])
    calm, beyond = result["stretches"]
    assert calm["generator"]["late_share"] < beyond["generator"]["late_share"] / 2, "but for stalls of the machine"
    assert beyond["generator"]["late_share"] > 0.5
    assert beyond["generator"]["cpu_share"] > calm["generator"]["cpu_share"]
    assert result["generator"]["late_share"] > 0.5


class Closing(socketserver.StreamRequestHandler):
    """Answers the first request on each connection, and closes it without an answer when the second has come."""

    def handle(self) -> None:
        """One connection."""
        server: Any = self.server
        server.connections += 1
        while request := self._request():
            server.requests += 1
            if request > server.answers:
                return
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

    def _request(self) -> int:
        """Read one; its number on this connection, 0 at the connection's end."""
        length, lines = 0, 0
        while (line := self.rfile.readline()) not in (b"", b"\r\n"):
            lines += 1
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.rfile.read(length)
        self.number = getattr(self, "number", 0) + bool(lines)
        return self.number if lines else 0


@pytest.fixture
def closing() -> Iterator[Any]:
    """Such a server, which counts what comes."""
    socketserver.ThreadingTCPServer.request_queue_size = 128
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Closing) as server:
        server.daemon_threads = True
        found: Any = server
        found.connections = found.requests = 0
        found.answers = 1
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


def test_what_a_server_closes_without_an_answer_is_an_error_and_not_sent_again(
    closing: Any, generator: Start
) -> None:
    process = generator(f"http://127.0.0.1:{closing.server_address[1]}")
    result, _ = run(process, profile=[[2, 60]], seed=4)
    total = result["total"]
    assert closing.requests == total["offered"] > 60, "each was sent once"
    assert total["errors"] == {"connection": closing.requests - total["answered"]}
    assert total["errors"]["connection"] > 40, "most come on a connection that was used before"


def test_strangers_open_a_connection_each_and_those_who_come_again_do_not(closing: Any, generator: Start) -> None:
    closing.answers = 10_000
    process = generator(f"http://127.0.0.1:{closing.server_address[1]}")
    result, _ = run(process, profile=[[1, 60]])
    assert closing.connections < closing.requests / 3
    closing.connections = closing.requests = 0
    result, _ = run(process, profile=[[1, 60]], strangers=True)
    assert result["total"]["errors"] == {}
    assert closing.connections == closing.requests == result["total"]["offered"]
    closing.connections = 0
    run(process, profile=[[1, 60]])
    assert 0 < closing.connections < 30, "afterwards they are kept again, and none is left of before"


def test_what_is_kept_by_second_gives_the_figures_again_and_the_machines_speed(stub: Stub, generator: Start) -> None:
    process = generator(stub("--service", "0.005", "--slots", "60"))
    result, _ = run(process, warmup=1, profile=[[2, 150], [2, 300]])
    total, rows = result["total"], result["seconds_by_route"]
    again = raw.totals([row for row in rows if row["t"] >= 0], 4)
    assert {name: again[name] for name in ("offered", "sent", "answered", "completed", "good", "errors")} == {
        name: total[name] for name in ("offered", "sent", "answered", "completed", "good", "errors")
    }
    for name in ("p50", "p95", "p99", "max"):
        assert total[name] / 1.001 <= again[name] <= total[name] * STEP * 1.001
    second = raw.totals([row for row in rows if row["t"] in (2, 3)], 2)
    assert second["good"] == result["stretches"][1]["good"]
    assert len(result["beats"]) >= 4
    assert result["canary"]["beats"] == len(result["beats"])
    assert 0 < result["canary"]["ns"] <= result["canary"]["median"] <= result["canary"]["slow"]
    assert all(stretch["canary"]["beats"] >= 1 for stretch in result["stretches"])
    assert result["generator"]["run_delay"] is None or 0 <= result["generator"]["run_delay"] < 1
    assert result["answered_in_all"] > total["answered"]
    assert 0 <= time.monotonic() - result["started"] < 60, "by the clock that all containers of a machine share"
