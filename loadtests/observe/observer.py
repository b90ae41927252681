"""Drives the process that observes a stage."""

import queue
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtests.observe.readings import Host, Moment, Reading
from loadtests.process import Process, ProcessError

# What is asked for is there within milliseconds, but for an app's metrics: it may be busy.
ANSWERS_WITHIN = 30.0
CANNOT = (
    "The boxes cannot be observed: {}.\nThey are from Docker's machine, by `pid: host` and its control groups, which "
    "rootless Docker and user namespaces do not allow: use Docker Engine as it is usually installed"
)


class ObserverError(ProcessError):
    """Boxes cannot be observed; the message says why, and what to do."""


class Observer:
    """One such process. Use it as a context manager: it ends with it."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        """Starts it. Raises ObserverError."""
        self._answers: queue.Queue[dict[str, Any] | ProcessError] = queue.Queue()
        self._seconds: list[Moment] = []
        self._urls: dict[str, str] = {}
        self._telling: dict[str, str] = {}
        self._process = Process(arguments, folder, "what observes", ObserverError)
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self.machine: dict[str, Any] = self._answer("ready", within=120.0)
        except ObserverError as error:
            self.close()
            raise ObserverError(CANNOT.format(error)) from error

    def __enter__(self) -> "Observer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def watch(self, pids: Mapping[str, int], urls: Mapping[str, str]) -> None:
        """Watch boxes by their first processes, and ask for metrics where some may be told. Raises ObserverError."""
        self._urls = self._telling = dict(urls)
        try:
            self._ask("watching", watch=dict(pids))
        except ObserverError as error:
            raise ObserverError(CANNOT.format(error)) from error

    def read(self) -> Moment:
        """All counters, now. Raises ObserverError."""
        return _moment(self._ask("moment", read=True))

    def seconds(self) -> list[Moment]:
        """What was read by itself each second since this was asked last."""
        found, self._seconds = self._seconds, []
        return found

    def latest(self) -> list[Moment]:
        """The last two of those seconds, for people who watch; fewer at the beginning."""
        return self._seconds[-2:]

    def programs(self) -> dict[str, dict[str, float]]:
        """CPU seconds so far of each box's programs, reaped children included. Raises ObserverError."""
        found: dict[str, dict[str, float]] = self._ask("programs", programs=True)
        return found

    def metrics(self) -> dict[str, tuple[float, str]]:
        """A time in seconds and the metrics then, of each box that tells some: who told none is not asked again.

        They cost an app CPU, so they are not asked for while anything is measured. Raises ObserverError.
        """
        found = self._ask("metrics", metrics=self._telling)
        if found and self._telling is self._urls:
            self._telling = {box: url for box, url in self._urls.items() if box in found}
        return {box: (at, text) for box, (at, text) in found.items()}

    def close(self) -> None:
        """End its input, and so it."""
        self._process.close()

    def _ask(self, answered_by: str, **message: Any) -> Any:
        self._process.say(**message)
        return self._answer(answered_by, ANSWERS_WITHIN)

    def _answer(self, name: str, within: float) -> Any:
        while True:
            try:
                message = self._answers.get(timeout=within)
            except queue.Empty:
                raise ObserverError(f"what observes has not answered within {within:.0f} s") from None
            if isinstance(message, ProcessError):
                self._answers.put(message)  # for who asks next
                raise ObserverError(str(message)) from message
            if "error" in message:
                raise ObserverError(message["error"])
            if name in message:  # else it is late, and nobody waits for it any more
                return message[name]

    def _listen(self) -> None:
        try:
            for message in self._process.messages():
                if "second" in message:
                    self._seconds.append(_moment(message["second"]))
                else:
                    self._answers.put(message)
        except ProcessError as error:
            self._answers.put(error)


def _moment(told: Mapping[str, Any]) -> Moment:
    boxes = {name: Reading(**one) for name, one in told["boxes"].items()}
    return Moment(told["at"], boxes, Host(**told["host"]))
