"""`make box`: how much of a CPU every box of this machine has, in periods of what length. It is one setting, in .env,
which each command of each stage reads: boxes of two sizes cannot be compared.
"""

import re
from dataclasses import dataclass

from infra.stage import engine, settings
from infra.stage.problems import Problem

# What is proposed, the largest first (docs/measuring.md says what a smaller one costs).
SHARES = (0.25, 0.1875, 0.125)
# The nine boxes of the largest stage together, at three times its ceiling: some are busy all the time, most are not.
BUSY_BOXES = 5
# What the load generator may use: of its core (TOOLS_CPUS), as much as leaves a trial a verdict.
GENERATOR_CPUS = 0.7
# The kernel gives a quota of no less, in periods of no other lengths.
LEAST_QUOTA = 1_000
PERIODS = (1_000, 1_000_000)
MOST_CPUS = 64.0


@dataclass(frozen=True)
class Size:
    """A box's quota of CPU in each period, both in µs."""

    quota: int
    period: int

    @property
    def cpus(self) -> float:
        """The share of a CPU that it may use."""
        return self.quota / self.period

    def __str__(self) -> str:
        return f"{self.cpus:g} CPU ({self.quota / 1000:g} ms in every {self.period / 1000:g})"


def now() -> Size:
    """The size that is set. Raises Problem for what cannot be one."""
    usual = settings.defaults()
    numbers = []
    for name in ("BOX_CPU_QUOTA", "BOX_CPU_PERIOD"):
        given = settings.said(name, usual[name])
        if not re.fullmatch(r"[0-9]{1,9}", given, re.ASCII) or not int(given):
            raise Problem(f"{name}={given} is no number of microseconds.", "Set the box: make box CPU=0.1875", status=2)
        numbers.append(int(given))
    return Size(*numbers)


def spread_over(machine: engine.Engine | None = None) -> int:
    """Cores that the boxes are spread over, each box on one: all of the machine's where nothing is set; 0 where every
    box may run on all. Docker is asked for the machine where it is not given. Raises Problem for what cannot be.
    """
    given = settings.said("BOX_CORES", "")
    if given == "0":
        return 0
    machine = machine or engine.look()
    if not given:
        return machine.cores if machine.pins_cpu else 0
    return _cores(given, machine)


def proposed(cores: int) -> float:
    """The largest share of a CPU of which a machine has enough for all busy boxes beside the generator."""
    left = max(0, cores - GENERATOR_CPUS)
    return next((share for share in SHARES if BUSY_BOXES * share <= left), SHARES[-1])


def told(on: engine.Engine) -> tuple[str, str]:
    """For a machine: what is set, and what would be better, with the line that sets it; or nothing."""
    cores = on.cores
    size, on_one = now(), spread_over(on)
    pinned = f", each on one of {on_one} cores" if on_one > 1 else ", each on one core" if on_one else ""
    fit = int(max(0, cores - GENERATOR_CPUS) / size.cpus)
    found = f"{size}{pinned}: {fit} busy ones fit beside the generator"
    wanted = proposed(cores)
    if size.cpus == wanted:
        return found, ""
    machine = f"{cores} core{'' if cores == 1 else 's'}"
    needed = f"the largest stage needs CPU for {BUSY_BOXES}"
    return found, f"{needed}; with {machine}, to compare all stages: make box CPU={wanted:g}"


def main(cpu: str, period: str, cores: str) -> None:
    """Set what is given, a share of a CPU, ms, and cores to spread the boxes over; tell what is set.

    Raises Problem for what cannot be set.
    """
    if cpu or period or cores:
        settings.keep(_asked(cpu, period, cores))
        print("Set in .env. A stage that is up has it from its next `up`, which whatever measures begins with.")
    found, better = told(engine.look())
    print(f"Box: {found}.")
    if better:
        print(f"{better[0].upper()}{better[1:]}")


def _asked(cpu: str, period: str, cores: str) -> dict[str, str]:
    values: dict[str, str] = {}
    if cpu or period:
        before = now()
        length = round(1000 * _number("PERIOD", period)) if period else before.period
        share = _number("CPU", cpu) if cpu else before.cpus
        quota = round(share * length)
        if not PERIODS[0] <= length <= PERIODS[1] or quota < LEAST_QUOTA or share > MOST_CPUS:
            raise Problem(
                f"{share:g} CPU in periods of {length / 1000:g} ms cannot be a box: the kernel gives at least 1 ms, in "
                "periods of 1 to 1000 ms.",
                "Usual ones: make box CPU=0.25, or make box CPU=0.1875 PERIOD=20",
                status=2,
            )
        values = {"BOX_CPU_PERIOD": str(length), "BOX_CPU_QUOTA": str(quota)}
    if cores:
        values["BOX_CORES"] = str(_cores(cores, engine.look()))
    return values


def _number(name: str, given: str) -> float:
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", given, re.ASCII):
        raise Problem(f"{name}={given} is no number.", "For example: make box CPU=0.1875 PERIOD=20", status=2)
    return float(given)


def _cores(given: str, machine: engine.Engine) -> int:
    remedy = f"Each box on one of all cores: make box CORES={machine.cores}. On any core: make box CORES=0"
    if not re.fullmatch(r"[0-9]{1,3}", given, re.ASCII):
        raise Problem(f"BOX_CORES={given} is no number of cores.", remedy, status=2)
    if int(given) > machine.cores:
        has = f"{machine.cores} core{'' if machine.cores == 1 else 's'}"
        raise Problem(f"BOX_CORES={given}: this machine has {has}.", remedy, status=2)
    return int(given)
