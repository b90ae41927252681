"""``python -m loadtests.bench.sizes``: database time at SIZE=large beside SIZE=small, interleaved, of every route.

Two PostgreSQL containers of a box's memory, each with one dataset, are asked the same calls in turn: the app's own
reads and use cases (``calls.py``), from this process. Every read, and every write that does the same when it is made
again, is made twice in a row. The first time it takes what the draw gives it, pages that must come from the disk among
them: 256 MB hold small whole and a tenth of large. The second time its pages are in memory, and its time is the work
that the statements do.

Figures are milliseconds that the app waited for the database for one request, as drawn and again; the raw samples go to
``runs/<time>-sizes/sizes.json``.
"""

import datetime as dt
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from conduit.bootstrap import bootstrap
from conduit.migrate import migrate, wait_for
from conduit.settings import Settings
from conduit.timing import Tally, tally
from data.seed import covers
from loadtests.bench.calls import DOES_THE_SAME_AGAIN, Call, Calls
from loadtests.ceiling.record import commit
from loadtests.load.dataset import read

SIZES = ("small", "large")
ROUNDS = 300
MEMORY = "256m"
WARM_UP = 20  # rounds that make connections, plans and caches
_WIDTH = 52  # of the longest route
_PASSWORD = "sizes"  # noqa: S105 - of a container that lives for this run


def main() -> int:
    started = [_Dataset(size) for size in SIZES]
    try:
        for dataset in started:
            dataset.load()
        samples = _measure(started)
    finally:
        for dataset in started:
            dataset.remove()
    folder = Path("runs") / f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-sizes"
    folder.mkdir(parents=True)
    raw = {"unit": "ms", "commit": commit(), "rounds": ROUNDS, "box_memory": MEMORY, "samples": samples}
    (folder / "sizes.json").write_text(json.dumps(raw))
    _show(samples)
    print(f"\nRaw data: {folder / 'sizes.json'}")
    return 0


def _show(samples: dict[str, dict[str, dict[str, list[float]]]]) -> None:
    print(f"\n{'':{_WIDTH}}{'as drawn':^27}{'again, in memory':^27}")
    print(f"{'database ms (median)':{_WIDTH}}" + f"{SIZES[0]:>9}{SIZES[1]:>9}{'ratio':>9}" * 2)
    for route, passes in samples.items():
        columns = ""
        for by_size in passes.values():
            small, large = (median(by_size[size]) for size in SIZES)
            columns += f"{small:9.3f}{large:9.3f}{large / small:9.2f}"
        print(f"{route:{_WIDTH}}{columns}")


def _measure(datasets: list["_Dataset"]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Milliseconds by route, pass (``drawn``; ``again`` where it is made twice) and size."""
    samples: dict[str, dict[str, dict[str, list[float]]]] = {}
    for number in range(-WARM_UP, ROUNDS):
        for route in datasets[0].calls:
            for dataset in datasets if number % 2 else datasets[::-1]:
                before = dataset.draw.getstate()
                again = route.startswith("GET") or route in DOES_THE_SAME_AGAIN
                for which in ("drawn", "again") if again else ("drawn",):
                    dataset.draw.setstate(before)  # the same keys again
                    milliseconds = _timed(dataset.calls[route])
                    if number >= 0:
                        by_size = samples.setdefault(route, {}).setdefault(which, {})
                        by_size.setdefault(dataset.size, []).append(milliseconds)
    return samples


def _timed(call: Call) -> float:
    spent = Tally()
    token = tally.set(spent)
    call()
    tally.reset(token)
    return round(spent.database_seconds * 1000, 3)  # no clock here tells less than a microsecond


class _Dataset:
    """One size of the dataset in a PostgreSQL container of its own, and the calls that are made on it."""

    def __init__(self, size: str) -> None:
        self.size = size
        self._name = f"conduit-sizes-{size}"
        self.remove()
        limits = ["--memory", MEMORY, "--cpus", "1", "--env", f"PGPASSWORD={_PASSWORD}", "--publish", "127.0.0.1::5432"]
        limits += ["--tmpfs", "/run:uid=1000,gid=1000,mode=0755"]
        _run("docker", "run", "--detach", "--name", self._name, *limits, "conduit/postgres")
        port = _run("docker", "port", self._name, "5432").strip().rpartition(":")[2]
        self._url = f"postgresql://conduit:{_PASSWORD}@127.0.0.1:{port}/conduit"
        self._media = TemporaryDirectory(prefix="conduit-sizes-")
        self.draw = random.Random(1)
        self.calls: dict[str, Call] = {}

    def remove(self) -> None:
        subprocess.run(["docker", "rm", "--force", "--volumes", self._name], capture_output=True, check=False)

    def load(self) -> None:
        wait_for([self._url])
        migrate(self._url)
        began = time.monotonic()
        seed = [sys.executable, "-m", "data.seed", "--size", self.size, "--database", f"0-63={self._url}"]
        # Rows that name covers are enough: nobody here looks at the files.
        seed += ["--covers", ",".join(f"{number:032x}" for number in range(covers.COUNT))]
        subprocess.run(seed, check=True)
        print(f"{self.size}: loaded in {time.monotonic() - began:.0f} s", flush=True)
        # Argon2 and Pillow are not the database's time, and the mail that a publication asks for is only logged.
        settings = Settings(
            database_url=self._url, jwt_secret="0" * 32, media_dir=Path(self._media.name), task_seconds=600
        )
        calls = Calls(bootstrap(settings), self._url, read([self._url], secret=""), self.draw, WARM_UP + ROUNDS)
        self.calls = calls.by_route()


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
