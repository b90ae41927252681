"""The command's side of the generator: what it hears, and what it says when the generator is gone."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadtests.ceiling.drive import EmptyStageError, Generator, GeneratorError, command

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def saying(*lines: str, code: int = 0) -> list[str]:
    """A process that says these lines and ends."""
    return [sys.executable, "-c", f"print({chr(10).join(lines)!r}, flush=True); raise SystemExit({code})"]


def nothing(_: Any) -> None:
    """Hears and forgets."""


@pytest.mark.slow
def test_a_trial_through_the_real_generator(stub: Callable[..., str]) -> None:
    heard: list[str] = []
    seconds: list[dict[str, Any]] = []
    with Generator([sys.executable, str(HERE / "generate.py"), stub()], ROOT) as generator:
        assert generator.ready["dataset"] == {"users": 10, "articles": 100}
        wanted = {"mix": "browse", "warmup": 0.2, "profile": [[1.5, 100]]}
        result = generator.trial(wanted, heard.append, seconds.append)
    assert heard == ["start", "end"]
    assert len(seconds) >= 1
    assert result["total"]["errors"] == {}


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "whole"), [(60.0, True), (0.0, False)])
def test_a_stage_is_warmed_once_or_for_so_long(stub: Callable[..., str], *, seconds: float, whole: bool) -> None:
    target = stub()
    with Generator([sys.executable, str(HERE / "generate.py"), target], ROOT) as generator:
        warmed = generator.warm(seconds, [target])
        # The tags, five pages, three tags' lists, a hundred articles with their comments, ten profiles.
        assert (warmed["sent"], warmed["failed"], warmed["whole"]) == (1 + 5 + 3 + 200 + 10 if whole else 0, 0, whole)
        assert generator.trial({"mix": "browse", "profile": [[0.5, 20]]}, nothing, nothing)["total"]["errors"] == {}


@pytest.mark.slow
def test_a_cache_that_does_not_answer_is_left_out_and_none_is_not_asked(stub: Callable[..., str]) -> None:
    with Generator([sys.executable, str(HERE / "generate.py"), stub()], ROOT) as generator:
        assert generator.caches({"cache": "redis://127.0.0.1:9/0"}) == {}
        assert generator.trial({"mix": "browse", "profile": [[0.5, 20]]}, nothing, nothing)["total"]["errors"] == {}
    assert generator.caches({}) == {}, "which would be an error of a generator that has ended"


def test_an_empty_stage_is_told_from_a_broken_one() -> None:
    empty = '{"error": {"kind": "empty", "text": "no articles; make stageN seed"}}'
    with pytest.raises(EmptyStageError, match="make stageN seed"):
        Generator(saying(empty, code=3), ROOT)
    with pytest.raises(GeneratorError, match="does not answer"):
        Generator(saying('{"error": {"kind": "database", "text": "the database does not answer"}}'), ROOT)
    with pytest.raises(GeneratorError, match="no such service: tools"):
        Generator(saying("no such service: tools", code=1), ROOT)


def test_a_generator_that_dies_in_a_trial_is_an_error_and_no_hang() -> None:
    generator = Generator(saying('{"ready": {}}'), ROOT)
    with pytest.raises(GeneratorError, match=r"gone|ended"):
        generator.trial({}, nothing, nothing)
    generator.close()


def test_it_is_started_on_the_stages_network() -> None:
    words = command("docker-compose.stage2.yml", "http://app:8000", ["0-63=postgresql://db"])
    assert words[:4] == ["docker", "compose", "-f", "docker-compose.stage2.yml"]
    assert words[-4:] == ["--target", "http://app:8000", "--database", "0-63=postgresql://db"]
