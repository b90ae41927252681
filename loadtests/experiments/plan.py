"""What each experiment does, how long and how often."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """Seconds of load ``before``, ``during`` and ``after`` what is done, at ``rate`` requests/s of a mix.

    ``times`` is how often it is done: then ``during`` is from one to the next.
    """

    mode: str
    before: float
    during: float
    after: float
    rate: float
    mix: str = "browse"
    times: int = 1
    warmup: float = 2.0

    @property
    def seconds(self) -> float:
        """Of load, without the warm-up."""
        return self.before + self.during * self.times + self.after

    def settings(self) -> dict[str, Any]:
        """For the record of the run."""
        return asdict(self)


# Rates that one app box of an eighth of a core holds by itself, so that what fails does not fail of overload.
QUICK = {
    "stampede": Plan("quick", before=0, during=0, after=0, rate=0, times=1),
    "kill": Plan("quick", before=4, during=12, after=12, rate=25),
    "restart": Plan("quick", before=4, during=40, after=4, rate=25),
    "cache": Plan("quick", before=8, during=8, after=14, rate=25),
    "queue": Plan("quick", before=2, during=5, after=2, rate=10, mix="publish", times=5),
    "publishing": Plan("quick", before=0, during=40, after=0, rate=10, mix="publish"),
}
FULL = {
    "stampede": Plan("full", before=0, during=0, after=0, rate=0, times=3),
    "kill": Plan("full", before=15, during=25, after=15, rate=40, times=5),
    "restart": Plan("full", before=10, during=120, after=10, rate=40),
    "cache": Plan("full", before=30, during=30, after=40, rate=40),
    # Docker waits twice as long as the last time to start a box again that ran for less than ten seconds.
    "queue": Plan("full", before=10, during=13, after=5, rate=5, mix="publish", times=25),
    "publishing": Plan("full", before=0, during=300, after=0, rate=5, mix="publish"),
}
NAMES = tuple(QUICK)
