"""Threads: in the order of arrival while the queue is short, the newest first when it stands, the latest refused."""

import asyncio
import gc
import random
import threading
import time
import weakref
from contextlib import suppress

import pytest

from conduit import metrics
from conduit import threads as conduit_threads
from conduit.errors import OverloadedError
from conduit.threads import Threads

NAP = 0.02
STANDS = 0.1
LONG = 30.0


@pytest.fixture(autouse=True)
def _stands_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conduit_threads, "STANDS_SECONDS", STANDS)


class _Gate:
    """Holds a pool's threads, and notes in which order work behind them is done."""

    def __init__(self, pool: Threads, count: int) -> None:
        self._pool = pool
        self._count = count
        self._opened = threading.Event()
        self.done: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "_Gate":
        self.tasks = [asyncio.create_task(self._pool.run(self._hold)) for _ in range(self._count)]
        await asyncio.sleep(NAP)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._opened.set()

    def _hold(self) -> None:
        self._opened.wait(10)

    async def put(self, *numbers: int) -> list[asyncio.Task[None]]:
        """Work that waits, in this order."""
        tasks = [asyncio.create_task(self._pool.run(self.done.append, number)) for number in numbers]
        await asyncio.sleep(0)
        self.tasks += tasks
        return tasks

    async def ended(self) -> list[type]:
        """How the work that was put ended, once the threads are free."""
        self._opened.set()
        ends = await asyncio.wait_for(asyncio.gather(*self.tasks, return_exceptions=True), 10)
        return [type(end) for end in ends[self._count :]]


def test_results_and_errors_are_returned() -> None:
    async def ask() -> None:
        pool = Threads(1, max_wait=LONG)
        assert await pool.run(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await pool.run(divmod, 7, 0)

    asyncio.run(ask())


def test_an_error_keeps_nothing_of_its_request() -> None:
    """Until the garbage is collected, which holds up all requests."""

    class _Request:
        pass

    pool = Threads(1, LONG)
    seen: list[weakref.ref[_Request]] = []

    def fail() -> None:
        raise ValueError

    async def answer() -> None:
        request = _Request()
        seen.append(weakref.ref(request))
        with suppress(ValueError):
            await pool.run(fail)

    async def use() -> None:
        await answer()
        await asyncio.sleep(NAP)  # the thread lets go of it, too
        assert seen[0]() is None

    gc.disable()
    try:
        asyncio.run(use())
    finally:
        gc.enable()
        pool.close()


def test_a_short_queue_is_served_in_the_order_of_arrival() -> None:
    async def ask() -> None:
        async with _Gate(Threads(1, max_wait=LONG), 1) as gate:
            await gate.put(1, 2, 3)
            assert await gate.ended() == [type(None)] * 3
        assert gate.done == [1, 2, 3]

    asyncio.run(ask())


def test_of_a_queue_that_stands_the_newest_comes_first_and_none_is_refused() -> None:
    async def ask() -> None:
        async with _Gate(Threads(1, max_wait=LONG), 1) as gate:
            await gate.put(1, 2)
            await asyncio.sleep(2 * STANDS)
            await gate.put(3, 4)
            assert await gate.ended() == [type(None)] * 4
        assert gate.done == [4, 3, 2, 1]

    asyncio.run(ask())


def test_once_the_old_are_done_the_order_is_that_of_arrival_again() -> None:
    async def ask() -> None:
        pool = Threads(1, max_wait=LONG)
        for expected in ([2, 1], [1, 2]):
            async with _Gate(pool, 1) as gate:
                await gate.put(1, 2)
                await asyncio.sleep(2 * STANDS if expected == [2, 1] else 0)
                await gate.ended()
            assert gate.done == expected

    asyncio.run(ask())


@pytest.mark.parametrize("newcomers", [0, 1])
def test_what_waited_too_long_is_refused_by_a_newcomer_or_by_a_thread(newcomers: int) -> None:
    """And by the newcomer at once: no thread becomes free meanwhile."""

    async def ask() -> None:
        async with _Gate(Threads(1, max_wait=0.15), 1) as gate:
            late = await gate.put(1, 2)
            await asyncio.sleep(0.3)
            await gate.put(*range(3, 3 + newcomers))
            await asyncio.sleep(NAP)
            assert [task.done() for task in late] == [bool(newcomers)] * 2
            assert await gate.ended() == [OverloadedError, OverloadedError, *[type(None)] * newcomers]
        assert gate.done == [*range(3, 3 + newcomers)]

    asyncio.run(ask())


def test_the_oldest_gives_up_its_place() -> None:
    async def ask() -> None:
        pool = Threads(1, max_wait=LONG)
        assert not pool.drop_oldest(), "none waits"
        async with _Gate(pool, 1) as gate:
            assert not pool.drop_oldest(), "what is at work is not refused"
            await gate.put(1, 2)
            assert pool.drop_oldest()
            assert await gate.ended() == [OverloadedError, type(None)]
        assert gate.done == [2]
        assert await pool.run(divmod, 7, 2) == (3, 1)

    asyncio.run(ask())


def test_each_refusal_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr(metrics.SHED, "inc", lambda: counted.append(1))

    async def ask() -> None:
        pool = Threads(1, max_wait=0.05)
        async with _Gate(pool, 1) as gate:
            await gate.put(1, 2, 3)
            pool.drop_oldest()
            await asyncio.sleep(0.1)
            await gate.ended()

    asyncio.run(ask())
    assert len(counted) == 3


def test_probes_go_first_and_are_never_refused() -> None:
    async def ask() -> None:
        pool = Threads(1, max_wait=0.05)
        async with _Gate(pool, 1) as gate:
            await gate.put(1)
            probe = asyncio.create_task(pool.run_always(lambda: gate.done.append(0)))
            await asyncio.sleep(0.2)
            await gate.put(2)
            assert not probe.done()
            assert await gate.ended() == [OverloadedError, type(None)]
            await asyncio.wait_for(probe, 5)
        assert gate.done == [0, 2]

    asyncio.run(ask())


@pytest.mark.parametrize(("stands", "most"), [(False, 6), (True, conduit_threads.FEW)])
def test_few_are_at_work_while_the_queue_stands(*, stands: bool, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conduit_threads, "PATIENCE_SECONDS", LONG)
    at_work, lock, seen = [0], threading.Lock(), []

    def work() -> None:
        with lock:
            at_work[0] += 1
            seen.append(at_work[0])
        time.sleep(NAP)
        with lock:
            at_work[0] -= 1

    async def ask() -> None:
        pool = Threads(6, max_wait=LONG)
        async with _Gate(pool, 6) as gate:
            waiting = [asyncio.create_task(pool.run(work)) for _ in range(60)]
            await asyncio.sleep(2 * STANDS if stands else 0)
            if not stands:
                monkeypatch.setattr(conduit_threads, "STANDS_SECONDS", LONG)
            await gate.ended()
            await asyncio.wait_for(asyncio.gather(*waiting), 10)
        # Those that were held come free one after the other, and see the queue a moment later.
        assert max(seen[6:40]) == most

    asyncio.run(ask())


def test_the_others_help_out_where_the_few_are_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conduit_threads, "PATIENCE_SECONDS", 0.2)

    async def ask() -> None:
        pool = Threads(6, max_wait=LONG)
        async with _Gate(pool, 6) as gate:
            await gate.put(1)
            await asyncio.sleep(2 * STANDS)  # it stands
            held = threading.Event()
            stuck = [asyncio.create_task(pool.run(held.wait, 10)) for _ in range(conduit_threads.FEW)]
            await asyncio.sleep(0)
            gate._opened.set()
            await asyncio.wait_for(gate.tasks[-1], 5)
            held.set()
            await asyncio.gather(*stuck)

    asyncio.run(ask())


def test_nothing_is_lost_between_newcomers_threads_and_refusals() -> None:
    """Each job ends once, done or refused, however they interleave."""
    done: list[int] = []
    rng = random.Random(11)

    async def ask() -> None:
        pool = Threads(5, max_wait=0.02)

        async def one(number: int) -> bool:
            await asyncio.sleep(rng.random() * 0.5)
            if number % 50 == 0:
                pool.drop_oldest()

            def work() -> None:
                time.sleep(0.001)
                done.append(number)

            try:
                await (pool.run_always(work) if number % 20 == 0 else pool.run(work))
            except OverloadedError:
                return False
            return True

        answered = await asyncio.wait_for(asyncio.gather(*map(one, range(3_000))), 20)
        assert sum(answered) == len(done) == len({*done})
        assert {number for number, is_done in enumerate(answered) if is_done} == {*done}
        assert all(answered[::20])
        assert await asyncio.wait_for(pool.run(divmod, 7, 2), 5) == (3, 1)

    asyncio.run(ask())
    assert 0 < len(done) < 3_000


def test_a_result_after_the_loop_has_closed_is_dropped_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Threads(1, max_wait=LONG)
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


def test_threads_end_after_what_is_queued() -> None:
    async def ask() -> Threads:
        pool = Threads(3, max_wait=LONG)
        async with _Gate(pool, 3) as gate:
            await gate.put(1, 2, 3)
            pool.close()
            assert await gate.ended() == [type(None)] * 3
        return pool

    pool = asyncio.run(ask())
    for thread in pool._threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in pool._threads)
