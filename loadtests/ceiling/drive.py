"""Drives a load generator in its container: JSON lines to its stdin, from its stdout."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class GeneratorError(Exception):
    """The generator ended, or cannot start; the message is its own last words."""


class EmptyStageError(Exception):
    """The stage holds no dataset yet."""


def command(compose_file: str, target: str, databases: list[str]) -> list[str]:
    """How the generator is started on a stage's network."""
    run = ["docker", "compose", "-f", compose_file, "run", "--rm", "-T", "--no-deps", "tools"]
    databases = [word for one in databases for word in ("--database", one)]
    return [*run, "python", "-m", "loadtests.generator", "--target", target, *databases]


class Generator:
    """One generator process. Use it as a context manager: it ends with it."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        """Starts it and waits until it has read its dataset. Raises EmptyStageError or GeneratorError."""
        self._noise: list[str] = []
        try:
            # In a session of its own, so that a Ctrl-C reaches it only as the end of its input, and in order.
            self._process = subprocess.Popen(
                arguments,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            raise GeneratorError(f"{arguments[0]} cannot be started: {error}") from error
        threading.Thread(target=self._listen_to_stderr, daemon=True).start()
        try:
            self.ready: dict[str, Any] = next(self._messages())["ready"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Generator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def trial(
        self,
        wanted: dict[str, Any],
        on_window: Callable[[str], None],
        on_progress: Callable[[dict[str, Any]], None],
    ) -> dict[str, Any]:
        """Run a trial; ``on_window`` is called at its start and end, ``on_progress`` each second."""
        assert self._process.stdin is not None, "opened as a pipe"
        try:
            self._process.stdin.write(json.dumps({"trial": wanted}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise GeneratorError(f"the generator is gone: {self._last_words()}") from error
        for message in self._messages():
            if "window" in message:
                on_window(message["window"])
            elif "progress" in message:
                on_progress(message["progress"])
            elif "result" in message:
                result: dict[str, Any] = message["result"]
                return result
        raise AssertionError("messages end by an exception")

    def close(self) -> None:
        """End its input, and so it."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None, "opened as a pipe"
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.terminate()

    def _messages(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout is not None, "opened as a pipe"
        for line in self._process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                self._noise.append(line)
                continue
            if "error" not in message:
                yield message
            elif message["error"]["kind"] == "empty":
                raise EmptyStageError(message["error"]["text"])
            else:
                raise GeneratorError(message["error"]["text"])
        raise GeneratorError(f"the load generator ended: {self._last_words()}")

    def _listen_to_stderr(self) -> None:
        assert self._process.stderr is not None, "opened as a pipe"
        for line in self._process.stderr:
            self._noise.append(line)
            del self._noise[:-40]

    def _last_words(self) -> str:
        # A moment for stderr to arrive after stdout has ended.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        words = [line.strip() for line in self._noise if line.strip()]
        return words[-1] if words else "without a word"
