"""Drives a process in a container: JSON lines to its stdin, from its stdout. It ends when its input does."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class ProcessError(Exception):
    """The process ended, or cannot start; the message is a sentence, with its own last words."""


class Process:
    """One process; ``name`` is what it is called in sentences, ``failure`` what is raised of it."""

    def __init__(self, arguments: list[str], folder: Path, name: str, failure: type[ProcessError]) -> None:
        """Starts it. Raises ``failure``."""
        self.name = name
        self._failure = failure
        self._noise: list[str] = []
        try:
            # In a session of its own, so that a Ctrl-C reaches it only as the end of its input, and in order.
            self.popen = subprocess.Popen(
                arguments,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            raise failure(f"{arguments[0]} cannot be started: {error}") from error
        threading.Thread(target=self._listen_to_stderr, daemon=True).start()

    def say(self, **message: Any) -> None:
        """Send it a line. Raises its failure where it is gone."""
        assert self.popen.stdin is not None, "opened as a pipe"
        try:
            self.popen.stdin.write(json.dumps(message) + "\n")
            self.popen.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._failure(f"{self.name} is gone: {self.last_words()}") from error

    def messages(self) -> Iterator[dict[str, Any]]:
        """What it says, until it ends: then its failure is raised."""
        assert self.popen.stdout is not None, "opened as a pipe"
        for line in self.popen.stdout:
            try:
                yield json.loads(line)
            except ValueError:
                self._noise.append(line)
        raise self._failure(f"{self.name} ended: {self.last_words()}")

    def close(self) -> None:
        """End its input, and so it."""
        with contextlib.suppress(OSError):
            assert self.popen.stdin is not None, "opened as a pipe"
            self.popen.stdin.close()
        try:
            self.popen.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.popen.terminate()

    def last_words(self) -> str:
        """The last thing that it said outside of its protocol."""
        # A moment for stderr to arrive after stdout has ended.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(timeout=2)
        words = [line.strip() for line in self._noise if line.strip()]
        return words[-1] if words else "without a word"

    def _listen_to_stderr(self) -> None:
        assert self.popen.stderr is not None, "opened as a pipe"
        for line in self.popen.stderr:
            self._noise.append(line)
            del self._noise[:-40]
