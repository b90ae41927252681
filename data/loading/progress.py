"""Progress on a terminal as a bar, elsewhere as plain lines."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

LINE_SECONDS = 5.0
BAR_SECONDS = 0.1


class Reporter:
    """Shows which step runs and how many rows it has done. Use as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._step = ""
        self._total: int | None = None
        self._done = 0
        self._shown = 0.0

    def __enter__(self) -> Self:
        # A console that is told to be one (FORCE_COLOR, as a container without a terminal can be) gets the
        # bar, too.
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description:<28}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self.console,
                refresh_per_second=5,
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish(complete=kind is None)
        if self._bar is not None:
            self._bar.stop()

    def step(self, text: str, total: int | None = None, unit: str = "rows") -> None:
        """Begins a step of ``total`` rows or other units (None when nobody knows); the one before it is done."""
        self._finish(complete=True)
        self._step, self._total, self._done = text, total, 0
        self._shown = time.monotonic()
        if self._bar is not None:
            self._task = self._bar.add_task(text, total=total)
        else:
            self.say(f"  {text} …" if total is None else f"  {text}: {total:,} {unit} …")

    def advance(self, rows: int) -> None:
        """``rows`` more of the step are done. Cheap: shown ten times a second at most."""
        self._done += rows
        now = time.monotonic()
        if self._bar is not None and self._task is not None:
            if now - self._shown > BAR_SECONDS:
                self._shown = now
                self._bar.update(self._task, completed=self._done)
        elif now - self._shown > LINE_SECONDS:
            self._shown = now
            of = f" of {self._total:,}" if self._total else ""
            self.say(f"  {self._step}: {self._done:,}{of}")

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, markup=False)

    def _finish(self, complete: bool) -> None:
        if self._bar is not None and self._task is not None:
            if complete:
                done = self._done or self._total or 1
                self._bar.update(self._task, completed=done, total=done)
            self._bar.stop_task(self._task)
            self._task = None
