"""Three times what a stage can do, for some seconds: most of what it can do is still answered in time."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from conduit_testing.client import Api
from tests.running import Stage, Stages, run

pytestmark = pytest.mark.docker
IN_TIME = 0.5
# Of slow boxes, which a queue of fixed length would keep waiting for longer than an answer may take.
PERIOD, QUOTA = "10000", "1250"
READERS = 12
ALONE_SECONDS = 4.0
OVERLOAD_SECONDS = 10.0
# In which the queue fills.
FIRST_SECONDS = 3.0
# What a reader needs to ask again is not there in a loop that waits for answers: so half of it, not four fifths.
LEAST_SHARE = 0.5


@contextmanager
def _slow(stage: Stage, boxes: tuple[str, ...]) -> Iterator[None]:
    names = [stage.container(box) for box in boxes]
    size = ["docker", "inspect", "-f", "{{.HostConfig.CpuPeriod}} {{.HostConfig.CpuQuota}}", names[0]]
    usual = run(size, stage.folder).split()

    def resize(period: str, quota: str) -> None:
        run(["docker", "update", "--cpu-period", period, "--cpu-quota", quota, *names], stage.folder)

    resize(PERIOD, QUOTA)
    try:
        yield
    finally:
        resize(*usual)


async def _answered_a_second(http: httpx.AsyncClient, paths: Iterator[str]) -> float:
    """By readers of whom each waits for an answer before it asks again."""
    until = time.monotonic() + ALONE_SECONDS
    answered = 0

    async def read() -> None:
        nonlocal answered
        while time.monotonic() < until:
            answered += (await http.get(next(paths))).status_code == 200

    await asyncio.gather(*(read() for _ in range(READERS)))
    return answered / ALONE_SECONDS


async def _good_a_second(http: httpx.AsyncClient, paths: Iterator[str], rate: float) -> float:
    """Answers in time a second, to requests that come at this rate whatever becomes of those before."""
    began = time.monotonic()
    good = 0

    async def ask(due: float) -> None:
        nonlocal good
        try:
            answer = await http.get(next(paths))
        except httpx.TimeoutException:
            return
        now = time.monotonic()
        if now - began > FIRST_SECONDS:
            good += answer.status_code == 200 and now - due <= IN_TIME

    async with asyncio.TaskGroup() as asking:
        for number in range(int(OVERLOAD_SECONDS * rate)):
            due = began + number / rate
            await asyncio.sleep(due - time.monotonic())
            asking.create_task(ask(due))
    return good / (OVERLOAD_SECONDS - FIRST_SECONDS)


async def _read(stage: Stage, slugs: list[str]) -> tuple[float, float]:
    paths = itertools.cycle([f"/api/articles/{slug}" for slug in slugs])
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=stage.url, limits=limits, timeout=5) as http:
        alone = await _answered_a_second(http, paths)
        return alone, await _good_a_second(http, paths, 3 * alone)


@pytest.mark.parametrize(
    ("number", "boxes"),
    [
        pytest.param(1, ("box",), marks=pytest.mark.stage(1)),
        pytest.param(3, ("app1", "app2"), marks=pytest.mark.stage(3)),
    ],
)
def test_of_three_times_too_much_most_of_what_it_can_do_is_in_time(
    stages: Stages, number: int, boxes: tuple[str, ...]
) -> None:
    stage, _ = stages.bring_up(number)
    with httpx.Client(base_url=stage.url, timeout=10) as http:
        jo = Api(http).sign_up()
        slugs = [jo.slug() for _ in range(20)]
    with _slow(stage, boxes):
        alone, good = asyncio.run(_read(stage, slugs))
    assert good > LEAST_SHARE * alone, f"{good:.0f} of {alone:.0f} a second"
    assert stage.get("/api/tags").status_code == 200
