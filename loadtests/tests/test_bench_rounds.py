"""What the benchmarks of a sharded stage have in common."""

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.stage import topology
from infra.stage.problems import Problem
from infra.stage.topology import Topology
from loadtests.bench import failover, reads, rounds, writes
from loadtests.bench.rounds import Rounds, exit_of
from loadtests.experiments.scene import CannotError

STAGE_4 = Topology(4, "conduit-stage4", {}, "cdn", 8000, 8004, {"0-63": ("db",)})
each_bench = pytest.mark.parametrize(
    ("what", "main"), [("reads", reads.main), ("writes", writes.main), ("failover", failover.main)]
)


@each_bench
@pytest.mark.parametrize(("words", "said"), [([], "Which stage"), (["stage4"], "Stage 4 has one database")])
def test_a_stage_without_shards_is_refused(
    monkeypatch: pytest.MonkeyPatch, what: str, main: Callable[[list[str]], int], words: list[str], said: str
) -> None:
    monkeypatch.setattr(topology, "read", lambda _number: STAGE_4)
    with pytest.raises(Problem, match=rf"(?s){said}.*make stage5 bench-{what}$"):
        main(words)


class _Docker:
    boxes = ()
    info, version = "info", "version"

    def __init__(self, _project: str) -> None: ...

    def capacity(self) -> dict[str, float]:
        return {}


def test_forms_take_turns_and_each_trial_is_kept_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rounds, "Boxes", _Docker)
    monkeypatch.setattr(rounds, "machine", lambda *_: {})
    monkeypatch.setattr(rounds, "ROUNDS", 3)
    monkeypatch.chdir(tmp_path)
    made = Rounds(STAGE_4, "reads")
    assert list(made.by_turns("ab")) == [(0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b")]
    made.keep({"round": 0, "p95_ms": 7}, "seven")
    (kept,) = tmp_path.glob("runs/*-reads/run.json")
    assert '"p95_ms": 7' in kept.read_text()
    assert made.kept.endswith(str(kept.relative_to(tmp_path)))


def test_what_is_in_the_way_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def cannot(_words: list[str]) -> int:
        raise CannotError("shard1 does not answer")

    assert exit_of(cannot, CannotError) == 1
    assert capsys.readouterr().err == "shard1 does not answer\n"
