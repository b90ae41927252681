"""What `make stage5 bench-writes` makes of what it measured, by hand on few trials."""

from typing import Any

from loadtests.bench import writes


def trial(place: int, primaries: int, replicated: bool, done: int, failed: int = 0) -> dict[str, Any]:
    """Of ten seconds."""
    names = [f"shard{number + 1}" for number in range(primaries)]
    spent = {f"{name}a": 2_000.0 + 400 * number for number, name in enumerate(names)}
    replicas = {f"{name}b": 500.0 for name in names} if replicated else {}
    return {
        "round": place,
        "primaries": primaries,
        "replicated": replicated,
        "seconds": 10.0,
        "kinds": {"publish": done - 10, "comment": 10, "failed": failed},
        "median_ms": 1.0,
        "p95_ms": 20.0 + place,
        "servers": {name: {"commits": 1_000, "syncs": 500 + 100 * place} for name in names},
        "nodes": {"primary": list(spent), "replica": list(replicas)},
        "cpu_ms": spent | replicas,
    }


def test_forms_are_compared_within_their_round() -> None:
    trials = [
        trial(0, 1, False, 1_000), trial(0, 2, False, 1_800, 7), trial(0, 2, True, 1_700), trial(0, 1, True, 900),
        trial(1, 1, True, 2_000), trial(1, 2, True, 3_000), trial(1, 2, False, 4_000), trial(1, 1, False, 2_000),
    ]  # fmt: skip
    assert writes.figures(trials) == [
        ["1", "stopped", "150", "1.00 (1.00 to 1.00)", "20", "100", "55", "200 ms/s", "–"],
        ["1", "running", "145", "0.95 (0.90 to 1.00)", "20", "100", "55", "200 ms/s", "50 ms/s"],
        ["2", "stopped", "290", "1.90 (1.80 to 2.00)", "20", "200", "110", "220 ms/s", "–"],
        ["2", "running", "235", "1.60 (1.50 to 1.70)", "20", "200", "110", "220 ms/s", "50 ms/s"],
    ]


def test_a_round_that_was_interrupted_is_compared_with_nothing() -> None:
    (row,) = writes.figures([trial(0, 2, True, 1_700)])
    assert row[:4] == ["2", "running", "170", "–"]
