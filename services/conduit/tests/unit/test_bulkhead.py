"""The bulkhead: few hold its slots, the others wait on the event loop, in their order until the queue stands."""

import asyncio
import gc
import math
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from conduit.bulkhead import Bulkhead, PlacesOfUsers
from conduit.errors import BusyError
from conduit.main import SIGN_INS_STAND_SECONDS

LONG = 60.0  # seconds; no test waits for it


class _Holders:
    """Requests that hold a slot until they are told to go, and the order in which they had it."""

    def __init__(self, bulkhead: Bulkhead) -> None:
        self._bulkhead = bulkhead
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._done: dict[str, asyncio.Event] = {}
        self.held: list[str] = []

    async def come(self, *names: str) -> None:
        for name in names:
            self._done[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._hold(name))
            await _turns()

    async def go(self, name: str) -> None:
        self._done[name].set()
        await self._tasks[name]
        await _turns()

    async def is_given_up(self, name: str) -> None:
        self._tasks[name].cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._tasks[name]

    async def is_refused(self, name: str) -> None:
        with pytest.raises(BusyError, match="too many sign-ins"):
            await self._tasks[name]

    async def _hold(self, name: str) -> None:
        async with self._bulkhead.slot():
            self.held.append(name)
            await self._done[name].wait()


@asynccontextmanager
async def _holders(
    slots: int = 1, most: int = 10, seconds: float = LONG, stands: float = math.inf
) -> AsyncIterator[_Holders]:
    waited_before = Bulkhead.all_waiting
    holders = _Holders(Bulkhead("sign-ins", slots, most, seconds, stands=stands))
    yield holders
    assert Bulkhead.all_waiting == waited_before


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_slots_are_given_in_the_order_of_arrival() -> None:
    async def main() -> None:
        async with _holders(slots=2, stands=LONG) as holders:
            await holders.come("a", "b", "c", "d")
            assert holders.held == ["a", "b"]
            for name in "bacd":
                await holders.go(name)
            assert holders.held == ["a", "b", "c", "d"]

    asyncio.run(main())


def test_there_are_as_many_slots_as_before_once_all_are_free_again() -> None:
    async def main() -> None:
        async with _holders(slots=2) as holders:
            for round_ in "12":
                await holders.come(*(name + round_ for name in "abc"))
                assert holders.held[-2:] == ["a" + round_, "b" + round_]
                for name in "abc":
                    await holders.go(name + round_)

    asyncio.run(main())


def test_each_user_has_places_of_their_own() -> None:
    places = PlacesOfUsers("large bodies", 2)
    for _ in range(2):
        with places.place(1), places.place(1):
            with pytest.raises(BusyError, match="too many large bodies"), places.place(1):
                pytest.fail("a third place")
            with places.place(2):
                pass
    assert not places._taken


def test_the_newest_comes_first_once_the_queue_stands() -> None:
    async def main() -> None:
        async with _holders(stands=0.0) as holders:
            await holders.come("a", "b", "c")
            await holders.go("a")
            await holders.come("d")
            for name in "cdb":
                await holders.go(name)
            assert holders.held == ["a", "c", "d", "b"]
            await holders.come("e")
            assert holders.held[-1] == "e"
            await holders.go("e")

    asyncio.run(main())


@pytest.mark.parametrize(("waited", "wanted"), [(0.25, "b"), (0.35, "d")])
def test_sign_ins_keep_their_order_for_as_long_as_the_first_can_be_in_time(waited: float, wanted: str) -> None:
    """Else those who come again and again pass over one of them until it is refused."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        loop.time = lambda: now  # type: ignore[method-assign]
        async with _holders(stands=SIGN_INS_STAND_SECONDS) as holders:
            await holders.come("a", "b", "c", "d")
            now += waited
            await holders.go("a")
            assert holders.held == ["a", wanted]
            for name in ("b", "c", "d") if wanted == "b" else ("d", "c", "b"):
                await holders.go(name)

    asyncio.run(main())


def test_who_waits_for_too_long_is_refused_and_the_next_has_the_slot() -> None:
    async def main() -> None:
        async with _holders(seconds=0.01) as holders:
            await holders.come("a", "b")
            await holders.is_refused("b")
            await holders.go("a")
            await holders.come("c")
            assert holders.held == ["a", "c"]
            await holders.go("c")

    asyncio.run(main())


def test_one_more_than_may_wait_is_refused_at_once() -> None:
    async def main() -> None:
        async with _holders(most=1) as holders:
            await holders.come("a", "b", "c")
            await holders.is_refused("c")
            await holders.go("a")
            assert holders.held == ["a", "b"]
            await holders.go("b")

    asyncio.run(main())


@pytest.mark.parametrize("stands", [0.0, math.inf])
def test_a_request_that_is_given_up_leaves_its_place_to_the_others(stands: float) -> None:
    async def main() -> None:
        async with _holders(stands=stands) as holders:
            await holders.come("a", "b", "c", "d")
            await holders.is_given_up("d" if stands == 0 else "b")
            await holders.go("a")
            assert holders.held == ["a", "c"]
            await holders.go("c")
            rest = "b" if stands == 0 else "d"
            assert holders.held == ["a", "c", rest]
            await holders.go(rest)

    asyncio.run(main())


def test_a_slot_that_is_given_to_a_request_while_it_is_given_up_is_given_on() -> None:
    async def main() -> None:
        bulkhead = Bulkhead("sign-ins", 1, 10, LONG)
        first = bulkhead.slot()
        await first.__aenter__()
        async with _holders() as holders:
            holders._bulkhead = bulkhead
            await holders.come("a", "b")
            await first.__aexit__(None, None, None)  # the slot is a's, who has not heard of it yet
            await holders.is_given_up("a")
            await _turns()
            assert holders.held == ["b"]
            await holders.go("b")

    asyncio.run(main())


def test_a_refusal_leaves_no_garbage() -> None:
    """A cycle would hold the request until the garbage collector finds it."""

    class Kept:
        """What a request has."""

    async def refused(bulkhead: Bulkhead) -> "weakref.ref[Kept]":
        kept = Kept()
        try:
            async with bulkhead.slot():
                raise AssertionError("it had a slot")
        except BusyError:
            return weakref.ref(kept)

    async def main() -> bool:
        bulkhead = Bulkhead("sign-ins", 1, 10, 0.01)
        async with bulkhead.slot():
            gc.disable()
            try:
                left = await refused(bulkhead)
                await _turns()
                return left() is None
            finally:
                gc.enable()

    assert asyncio.run(main())
