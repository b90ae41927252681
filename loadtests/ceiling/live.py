"""Progress of a search: a live table on a terminal, a line a trial elsewhere."""

import sys
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from loadtests.ceiling.verdict import Outcome
from loadtests.observe.readings import Load

BAR = 30


class Progress:
    """Shows the trial that runs and those that have run."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False)
        self._title = title
        self._live = Live(console=self.console, refresh_per_second=4, transient=True)
        self._phase = ""

    @property
    def watched(self) -> bool:
        """Whether somebody sees what is shown each second."""
        return self.console.is_terminal

    def __enter__(self) -> "Progress":
        if self.watched:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(escape(text), soft_wrap=True)

    def begin(self, phase: str, rate: float) -> None:
        """A trial starts."""
        self._phase = f"{phase} at {rate:.0f}/s"
        self.second(None, {})

    def second(self, progress: dict[str, Any] | None, loads: dict[str, Load]) -> None:
        """What the trial shows this second."""
        if not self.watched:
            return
        lines = [Text(f"{self._title}: {self._phase}", style="bold")]
        if progress is not None:
            p95 = "–" if progress["p95"] is None else f"{progress['p95']:.0f} ms"
            time = "warm-up" if progress["t"] < 0 else f"{progress['t']:.0f} of {progress['seconds']:.0f} s"
            lines.append(
                Text(
                    f"{time:<12} offered {progress['rate']:.0f}/s  achieved {progress['achieved']:.0f}/s  p95 {p95}  "
                    f"errors {progress['errors']}"
                )
            )
            for name, load in loads.items():
                lines.append(_bar(f"CPU {name}", load.utilisation))
            lines.append(_bar("generator", progress["cpu_share"]))
        self._live.update(Group(*lines))

    def end(self, shown: Outcome, loads: dict[str, Load], judged: bool) -> None:
        """A trial has ended; ``judged`` says whether the SLO matters for it."""
        mark = "passed" if shown.passed else "failed: " + ", ".join(shown.failures())
        if not shown.valid:
            mark = "no verdict: " + ", ".join(shown.limits())
        p95 = "     –" if shown.p95 is None else f"{shown.p95:6.0f}"
        busy = "  ".join(f"{name} {load.utilisation:4.0%}" for name, load in loads.items())
        line = f"{self._phase:<26} {shown.completed_rate:7.1f}/s  p95 {p95} ms  CPU {busy}"
        self.say(f"{line}  {mark}" if judged else line)


def _bar(name: str, share: float) -> Text:
    cells = min(BAR, round(max(0.0, share) * BAR))
    style = "red" if share > 0.85 else "yellow" if share > 0.7 else "green"
    return Text.assemble(f"{name:<12.12} ", ("█" * cells, style), "░" * (BAR - cells), f" {share:4.0%}")
