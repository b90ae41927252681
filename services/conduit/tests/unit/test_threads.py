"""Threads: a burst may wait, work is refused under overload, and run_always is never refused."""

import asyncio
import threading
import time

import pytest

from conduit import threads as conduit_threads
from conduit.errors import OverloadedError
from conduit.threads import Threads

NAP = 0.02


async def _ask(pool: Threads, times: int) -> list[object]:
    return await asyncio.gather(*(pool.run(time.sleep, NAP) for _ in range(times)), return_exceptions=True)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Threads:
    monkeypatch.setattr(conduit_threads, "BURST_WAIT_SECONDS", 0.4)
    monkeypatch.setattr(conduit_threads, "OVERLOAD_AFTER_SECONDS", 0.4)
    return Threads(1, max_wait=0.05)


def test_results_and_errors_are_returned(pool: Threads) -> None:
    async def ask() -> None:
        assert await pool.run(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await pool.run(divmod, 7, 0)

    asyncio.run(ask())


def test_the_work_of_a_burst_waits_and_is_done(pool: Threads) -> None:
    assert asyncio.run(_ask(pool, 10)) == [None] * 10


def test_a_burst_may_wait_as_long_as_work_may_under_overload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conduit_threads, "BURST_WAIT_SECONDS", 0.05)
    assert asyncio.run(_ask(Threads(1, max_wait=10), 10)) == [None] * 10


def test_under_overload_late_work_is_refused_until_the_queue_is_empty(pool: Threads) -> None:
    async def ask() -> None:
        answers = await _ask(pool, 60)  # three times the burst's length
        refused = [isinstance(answer, OverloadedError) for answer in answers]
        assert refused[:10] == [False] * 10
        assert refused[-10:] == [True] * 10
        assert await pool.run(divmod, 7, 2) == (3, 1)

    asyncio.run(ask())


@pytest.mark.slow
def test_run_always_is_not_refused_under_overload(pool: Threads) -> None:
    async def ask() -> None:
        gate = threading.Event()
        held = asyncio.create_task(pool.run(gate.wait))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(pool.run(divmod, 7, 2))
        await asyncio.sleep(0.6)
        with pytest.raises(OverloadedError):
            await pool.run(divmod, 7, 2)
        probe = asyncio.create_task(pool.run_always(lambda: "done"))
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.wait_for(probe, 5) == "done"
        await asyncio.gather(held, waiting, return_exceptions=True)

    asyncio.run(ask())


@pytest.mark.slow
def test_a_late_queue_refuses_new_work_at_once(pool: Threads) -> None:
    async def ask() -> None:
        gate = threading.Event()
        held = asyncio.create_task(pool.run(gate.wait))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(pool.run(time.sleep, 0))
        await asyncio.sleep(0.3)
        # For longer than max_wait, but not long enough to be overload.
        in_a_burst = asyncio.create_task(pool.run(time.sleep, 0))
        await asyncio.sleep(0.3)
        with pytest.raises(OverloadedError):
            pool.run(time.sleep, 0).send(None)  # refused before anything is waited for
        gate.set()
        answers = await asyncio.gather(held, waiting, in_a_burst, return_exceptions=True)
        assert [type(answer) for answer in answers] == [bool, OverloadedError, type(None)]

    asyncio.run(ask())


def test_a_result_after_the_loop_has_closed_is_dropped_silently(pool: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[object] = []
    monkeypatch.setattr(threading, "excepthook", left.append)
    gate = threading.Event()

    async def stop_meanwhile() -> None:
        for work in (gate.wait, lambda: 1 / 0):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pool.run_always(work), NAP)

    async def ask_again() -> str:
        return await asyncio.wait_for(pool.run_always(lambda: "done"), 5)

    asyncio.run(stop_meanwhile())
    gate.set()
    assert asyncio.run(ask_again()) == "done", "the thread has died"
    assert left == []


@pytest.mark.slow
def test_a_burst_after_a_pause_and_a_probe_is_no_overload(pool: Threads) -> None:
    async def ask() -> None:
        assert await pool.run(divmod, 7, 2) == (3, 1)
        await asyncio.sleep(0.6)
        probe = asyncio.create_task(pool.run_always(lambda: time.sleep(NAP)))
        await asyncio.sleep(0)
        assert await _ask(pool, 10) == [None] * 10
        await probe

    asyncio.run(ask())


@pytest.mark.slow
def test_a_burst_after_a_pause_is_no_overload(pool: Threads) -> None:
    async def ask() -> None:
        assert await pool.run(divmod, 7, 2) == (3, 1)
        await asyncio.sleep(0.6)
        assert await _ask(pool, 10) == [None] * 10

    asyncio.run(ask())
