"""Drives a load generator in its container."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtests.process import Process, ProcessError


class GeneratorError(ProcessError):
    """The generator ended, or cannot start; the message is its own last words."""


class EmptyStageError(Exception):
    """The stage holds no dataset yet."""


def container(compose_file: str, service: str) -> list[str]:
    """How a service that is beside a stage is started for as long as somebody drives it."""
    return ["docker", "compose", "-f", compose_file, "run", "--rm", "-T", "--no-deps", service]


def command(compose_file: str, target: str, databases: list[str]) -> list[str]:
    """How the generator is started on a stage's network."""
    databases = [word for one in databases for word in ("--database", one)]
    module = ["python", "-m", "loadtests.load.generator"]
    return [*container(compose_file, "tools"), *module, "--target", target, *databases]


class Generator:
    """One generator process. Use it as a context manager: it ends with it."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        """Starts it and waits until it has read its dataset. Raises EmptyStageError or GeneratorError."""
        self._process = Process(arguments, folder, "the load generator", GeneratorError)
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
        self._process.say(trial=wanted)
        for message in self._messages():
            if "window" in message:
                on_window(message["window"])
            elif "progress" in message:
                on_progress(message["progress"])
            elif "result" in message:
                result: dict[str, Any] = message["result"]
                return result
        raise AssertionError("messages end by an exception")

    def warm(self, seconds: float, targets: Sequence[str]) -> dict[str, Any]:
        """Warm what the apps at these URLs cache, as ``warming.warm`` has it. Raises GeneratorError."""
        self._process.say(warm={"seconds": seconds, "targets": targets})
        warmed: dict[str, Any] = next(message["warmed"] for message in self._messages() if "warmed" in message)
        return warmed

    def caches(self, urls: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """How full the caches at these URLs are, as ``caches.held`` has it: not while anything is measured. Raises
        GeneratorError.
        """
        if not urls:
            return {}
        self._process.say(caches=dict(urls))
        found: dict[str, dict[str, Any]] = next(
            message["caches"] for message in self._messages() if "caches" in message
        )
        return found

    def close(self) -> None:
        """End its input, and so it."""
        self._process.close()

    def _messages(self) -> Iterator[dict[str, Any]]:
        for message in self._process.messages():
            if "error" not in message:
                yield message
            elif message["error"]["kind"] == "empty":
                raise EmptyStageError(message["error"]["text"])
            else:
                raise GeneratorError(message["error"]["text"])
