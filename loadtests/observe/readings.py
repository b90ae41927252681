"""What is read of boxes and of their machine at a moment, and what follows from two such readings."""

from dataclasses import asdict, dataclass
from typing import Any

NANOSECONDS = 1e9


@dataclass(frozen=True)
class Reading:
    """A box's counters since it began, at a moment.

    ``at`` is the machine's monotonic clock in seconds, CPU in ns. ``throttled_ns`` is the time in which it wanted to
    run and its quota was used up; each CPU that it wanted counts. ``periods`` are those of its quota in which it ran
    at all, and ``throttled_periods`` how many of them ran into it. Memory in bytes, without page cache that can be
    given up.
    """

    at: float
    cpu_ns: int
    throttled_ns: int
    memory: int
    periods: int = 0
    throttled_periods: int = 0


@dataclass(frozen=True)
class Host:
    """The machine's counters since it began: ticks of all its CPUs, how many of them were idle or stolen by a
    hypervisor.

    ``run_delay_ns`` is the time that tasks waited for a CPU, added up, and ``pressure_us`` that in which any did.
    None where the kernel does not tell. A box that waits for its quota counts in both.
    """

    at: float
    ticks: int
    idle: int
    stolen: int
    run_delay_ns: int | None = None
    pressure_us: int | None = None


@dataclass(frozen=True)
class Moment:
    """Everything that was read at once."""

    at: float
    boxes: dict[str, Reading]
    host: Host

    def rows(self, start: float, **more: Any) -> list[dict[str, Any]]:
        """As it is kept: a row for each box and one for the host; ``t`` in seconds after ``start``."""
        boxes: list[dict[str, Any]] = [{"box": name} | asdict(one) for name, one in self.boxes.items()]
        rows = [*boxes, {"host": True} | asdict(self.host)]
        return [{"t": round(row.pop("at") - start, 4)} | more | row for row in rows]


@dataclass(frozen=True)
class Load:
    """A box between two readings.

    ``cpu`` in CPUs used, ``utilisation`` of its quota; ``throttled`` is the share of the time in which its quota held
    it back: 0.75 for a box that always wants one CPU and may use a quarter of it.
    """

    cpu: float
    utilisation: float
    throttled: float
    memory: int

    def record(self) -> dict[str, float]:
        """For the record of the run."""
        return {
            "cpu": round(self.cpu, 5),
            "utilisation": round(self.utilisation, 4),
            "throttled": round(self.throttled, 4),
            "memory": self.memory,
        }


def load(before: Reading, after: Reading, quota: float) -> Load:
    """What a box with a quota in CPUs did between two readings."""
    seconds = after.at - before.at
    if seconds <= 0:
        return Load(0.0, 0.0, 0.0, after.memory)
    cpu = (after.cpu_ns - before.cpu_ns) / NANOSECONDS / seconds
    # A box that wants two CPUs is held back on both.
    throttled = min(1.0, (after.throttled_ns - before.throttled_ns) / NANOSECONDS / seconds)
    return Load(cpu, cpu / quota, throttled, after.memory)


def of_host(before: Host, after: Host) -> dict[str, float | None]:
    """The machine between two readings, for the record of a trial.

    ``idle`` and ``stolen`` as shares of all its CPU time, ``run_delay`` as the number of tasks that waited for a CPU on
    average, ``pressure`` as the share of the time in which any did.
    """
    seconds, ticks = after.at - before.at, after.ticks - before.ticks

    def grown(was: int | None, now: int | None, unit: float) -> float | None:
        return None if was is None or now is None or seconds <= 0 else round((now - was) / unit / seconds, 4)

    return {
        "idle": round((after.idle - before.idle) / ticks, 4) if ticks > 0 else None,
        "stolen": round((after.stolen - before.stolen) / ticks, 4) if ticks > 0 else None,
        "run_delay": grown(before.run_delay_ns, after.run_delay_ns, NANOSECONDS),
        "pressure": grown(before.pressure_us, after.pressure_us, 1e6),
    }
