"""What experiments are done on: a stage that is up, its boxes, a load that goes on meanwhile, the record."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from infra.stage.topology import Topology
from loadtests.ceiling import counts
from loadtests.ceiling.boxes import Box
from loadtests.ceiling.drive import Generator
from loadtests.ceiling.record import ROOT, Run
from loadtests.ceiling.stage import Rig
from loadtests.observe.observer import Observer

LOG_SECONDS = 1.5
"""How long a balancer may keep a line of its log back."""


class CannotError(Exception):
    """The experiment cannot be done here; the message says why, and what to do."""


class Load:
    """Load that goes on while something is done; use it as a context manager, which waits for its end."""

    def __init__(self, generator: Generator, observer: Observer, wanted: dict[str, Any]) -> None:
        self.result: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.counted: list[dict[str, Any]] = []
        self.began = 0.0
        """When the window began, by ``time.time``."""
        self._observer = observer
        self._readings: list[tuple[float, dict[str, tuple[float, str]]]] = []
        self._started = threading.Event()
        self._error: Exception | None = None
        self._start = 0.0
        self._thread = threading.Thread(target=self._run, args=(generator, wanted), daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        self._started.wait()
        self._check()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._thread.join()
            self._check()

    @property
    def t(self) -> float:
        """Seconds into the window."""
        return time.monotonic() - self._start

    def until(self, t: float) -> None:
        """Wait for that second of the window. Raises what ended the load before."""
        while (left := t - self.t) > 0:
            self._check()
            time.sleep(min(0.2, left))
        self._check()

    def note(self, what: str) -> float:
        """Something was done now: returns the second of the window."""
        at = self.t
        self.events.append({"t": round(at, 2), "what": what})
        return at

    def count(self) -> None:
        """Read the apps' counters; from the second time on, what they counted since is kept."""
        at, read = self.t, self._observer.metrics()
        if self._readings:
            since, before = self._readings[-1]
            rates = counts.a_second(before, read)
            self.counted.append({"from": round(since, 2), "to": round(at, 2)} | rates)
        self._readings.append((at, read))

    def _run(self, generator: Generator, wanted: dict[str, Any]) -> None:
        try:
            self.result = generator.trial(wanted, self._window, lambda _: None)
        except Exception as error:  # raised where the load is waited for
            self._error = error
        finally:
            self._started.set()

    def _window(self, window: str) -> None:
        if window == "start":
            self.began, self._start = time.time(), time.monotonic()
            self._started.set()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error


class Scene:
    """A stage that an experiment is done on."""

    def __init__(self, stage: Topology, rig: Rig, run: Run, say: Callable[[str], None]) -> None:
        self.stage = stage
        self.boxes = rig.boxes
        self.observer = rig.observer
        self.run = run
        self.say = say
        self._generator = rig.generator

    def load(
        self, mix: str, stretches: Sequence[tuple[float, float]], warmup: float, without: Sequence[str] = ()
    ) -> Load:
        """Load of a mix in stretches of (seconds, requests/s)."""
        profile = [list(stretch) for stretch in stretches if stretch[0] > 0]
        self.observer.seconds()  # those before it are of another load, or of none
        wanted = {"mix": mix, "seed": 1, "warmup": warmup, "profile": profile, "without": list(without)}
        return Load(self._generator, self.observer, wanted)

    def keep(self, load: Load, **more: Any) -> None:
        """Into the record: the load, what was done in it, and what else was seen."""
        trial = {"began": load.began, "events": load.events, "counts": load.counted, "result": load.result}
        self.run.add(trial, self.observer.seconds())
        self.also(**more)

    def also(self, **more: Any) -> None:
        """Into the record: what else was seen of the load that was kept last, once it is known."""
        self.run.data["trials"][-1] |= more
        self.run.save()

    def apps(self) -> list[Box]:
        """The boxes that a balancer chooses among. Raises CannotError where there are not two."""
        found = [box for box in self.boxes.boxes if "stage.upstream" in box.labels]
        if len(found) < 2 or self.boxes.origin() is None:
            raise CannotError("This needs a balancer before two app boxes, which stage 3 brings.")
        return found

    def service(self, name: str) -> Box:
        """A box by its service. Raises CannotError where the stage has none."""
        found = next((box for box in self.boxes.boxes if box.service == name), None)
        if found is None:
            raise CannotError(f"This needs the box {name}, which stage {self.stage.number} does not have.")
        return found

    def queued(self) -> list[Box]:
        """The boxes of workers; none where slow work is done inside requests."""
        return [box for box in self.boxes.boxes if box.role == "worker"]

    def requests(self, load: Load) -> list[dict[str, Any]]:
        """What the balancer answered in the window of a load and after it."""
        origin = self.boxes.origin()
        if origin is None:
            return []
        time.sleep(LOG_SECONDS)
        return list(counts.entries(self.boxes.log(origin, load.began - LOG_SECONDS, time.time())))

    def command(self, verb: str) -> tuple[int, str]:
        """A verb of the stage's own: its exit status and what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "infra.stage", verb, f"stage{self.stage.number}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, (done.stdout + done.stderr).strip()
