"""Progress of a search: a live table on a terminal, a line a trial elsewhere."""

import sys
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from loadtests.ceiling.boxes import Load
from loadtests.ceiling.verdict import Outcome


class Progress:
    """Shows the trial that runs and those that have run."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False)
        self._title = title
        self._live = Live(console=self.console, refresh_per_second=4, transient=True)
        self._phase = ""

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
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
        if not self.console.is_terminal:
            return
        table = Table(title=self._title, title_justify="left", expand=False)
        for column in ("trial", "time", "offered/s", "achieved/s", "p95", "errors", "in flight", "generator"):
            table.add_column(column, justify="left" if column == "trial" else "right")
        for box in loads:
            table.add_column(f"CPU {box}", justify="right")
        if progress is None:
            table.add_row(self._phase, *[""] * (len(table.columns) - 1))
        else:
            p95 = progress["p95"]
            time = "warm-up" if progress["t"] < 0 else f"{progress['t']:.0f}/{progress['seconds']:.0f} s"
            table.add_row(
                self._phase,
                time,
                f"{progress['rate']:.0f}",
                f"{progress['achieved']:.0f}",
                "–" if p95 is None else f"{p95:.0f} ms",
                str(progress["errors"]),
                str(progress["in_flight"]),
                f"{progress['cpu_share']:.0%}",
                *(f"{load.utilisation:.0%}" for load in loads.values()),
            )
        self._live.update(table)

    def end(self, shown: Outcome, loads: dict[str, Load], judged: bool) -> None:
        """A trial has ended; ``judged`` says whether the SLO matters for it."""
        mark = "passed" if shown.passed else "failed: " + ", ".join(shown.failures())
        if not shown.valid:
            mark = "no verdict: " + ", ".join(shown.limits())
        p95 = "     –" if shown.p95 is None else f"{shown.p95:6.0f}"
        busy = "  ".join(f"{name} {load.utilisation:4.0%}" for name, load in loads.items())
        line = f"{self._phase:<26} {shown.completed_rate:7.1f}/s  p95 {p95} ms  CPU {busy}"
        self.say(f"{line}  {mark}" if judged else line)
