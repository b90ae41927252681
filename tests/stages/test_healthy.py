"""Whom the boxes' health check, infra/images/healthy, calls well and whom ill, as it is asked once."""

import socket
import time
from pathlib import Path

import pytest

from tests.stages.checked import (
    REDIS_ASKS,
    SESSION,
    WELL,
    Answer,
    Check,
    Place,
    begins,
    error,
    hangs,
    http,
    postgresql,
    redis,
    says,
    serving,
)


@pytest.mark.parametrize(
    ("place", "answer"),
    [
        (http, says(b"HTTP/1.1 204 No Content\r\n\r\n", hears=b"GET /ready HTTP/1.1\r\n")),
        (http, says(b"HTTP/1.0 200 OK\r\n\r\n", hears=b"Connection: close\r\n")),
        (http, says(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)),
        (redis, says(b"+OK\r\n+PONG\r\n", hears=REDIS_ASKS)),
        # Both leave the connection open; nothing more is waited for.
        (redis, begins(b"+OK\r\n+PONG\r\n")),
        (postgresql, begins(b"R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00")),
        (postgresql, says(b"R", hears=SESSION)),
        (postgresql, says(error("53300"))),  # it has no session left, and works
    ],
)
def test_who_answers_is_well(check: Check, place: Place, answer: Answer) -> None:
    with serving(answer) as server:
        check.tell(place(server))
    assert server.asked == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "answer", "said"),
    [
        (http, says(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), "HTTP/1.1 503 Service Unavailable"),
        (http, says(b"HTTP/1.1 302 Found\r\n\r\n"), "HTTP/1.1 302 Found"),
        (http, says(b"+PONG\r\n"), "+PONG"),
        (http, says(b""), "no answer"),
        (http, hangs, "no answer within 0.3 s"),
        (http, begins(b"HTTP/1.1 200 OK\r\n\r\n"), "no answer within 0.3 s"),  # its end does not come
        (redis, says(b"-NOAUTH Authentication required.\r\n" * 2), "-NOAUTH Auth"),
        (redis, says(b"+OK\r\n-LOADING Redis is loading the dataset in memory\r\n"), "+OK"),
        (redis, says(b"+OK\r\n-MISCONF Errors writing to the AOF file\r\n"), "+OK"),
        (redis, hangs, "no answer within 0.3 s"),
        (postgresql, says(error("57P03")), "the database system is starting up"),
        (postgresql, says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "H"),
        (postgresql, says(b"E"), "no answer"),
        (postgresql, says(b""), "no answer"),
        (postgresql, hangs, "no answer within 0.3 s"),
    ],
)
def test_who_does_not_answer_well_is_ill(check: Check, place: Place, answer: Answer, said: str) -> None:
    with serving(answer) as server:
        code, told = check.run(place(server))
    assert code == 1
    assert told.startswith(f"{place(server)}: {said}"), told
    assert server.asked > 1
    assert not check.state.read_text().startswith("told")


@pytest.mark.slow
@pytest.mark.parametrize("place", [http, redis, postgresql])
def test_where_nobody_is_the_box_is_ill(check: Check, place: Place) -> None:
    with serving(hangs) as server:
        pass
    assert check.run(place(server)) == (1, f"{place(server)}: nobody takes the connection")


@pytest.mark.slow
def test_who_takes_no_connections_any_more_does_not_hold_it_up(check: Check) -> None:
    """As a program that stands still and whose queue is full: to connect takes as long as the kernel's patience."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        place = f"http://127.0.0.1:{full.getsockname()[1]}/ready"
        began = time.monotonic()
        assert check.run(place) == (1, f"{place}: nobody takes the connection")
        assert time.monotonic() - began < 5
        for one in waiting:
            one.close()


def test_a_program_that_keeps_the_time_in_a_file_is_well(check: Check, tmp_path: Path) -> None:
    file = tmp_path / "alive"
    file.write_text(f"{time.time() - 25:.0f}\n")
    check.tell(str(file))


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "nothing", "1700000000\n", None])
def test_a_program_that_kept_it_long_ago_or_never_is_ill(check: Check, tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "alive"
    if text is not None:
        file.write_text(text)
    assert check.run(str(file)) == (1, f"{file}: not there, or old")


@pytest.mark.parametrize("place", ["https://127.0.0.1:1/", "http://db:80/", "ready"])
def test_a_place_that_it_cannot_ask_is_a_mistake(check: Check, place: str) -> None:
    assert check.run(place) == (2, f"no place to ask: {place}")


@pytest.mark.slow
def test_all_places_have_to_answer(check: Check) -> None:
    with serving(WELL) as well, serving(says(b"")) as ill:
        check.tell(http(well), http(well))
        assert check.run(http(well), http(ill)) == (1, f"{http(ill)}: no answer")
