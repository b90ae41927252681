"""What `make stage5 bench-reads` makes of what it measured, by hand on few trials."""

from typing import Any

from loadtests.bench import reads

NODES = {"primary": ["p1", "p2"], "replica": ["r1", "r2"]}


def trial(place: int, replicas: bool, done: int, answered: dict[str, int]) -> dict[str, Any]:
    """Of ten seconds."""
    spent = {"p1": 2_000.0, "p2": 2_200.0, "r1": 100.0 + 1_000 * replicas, "r2": 300.0 + 1_000 * replicas}
    kinds = {"article": done, "failed": 3}
    return {
        **{"round": place, "replicas": replicas, "seconds": 10.0, "kinds": kinds, "p95_ms": 30.0},
        **{"answered": answered, "cpu_ms": spent},
    }


def test_reads_with_replicas_are_compared_within_their_round() -> None:
    trials = [
        trial(0, False, 1_000, {}),
        trial(0, True, 1_500, {"replica": 60, "busy": 30, "behind": 10}),
        trial(1, True, 3_600, {"replica": 80, "unknown": 20}),
        trial(1, False, 2_000, {}),
    ]
    assert reads.figures({"nodes": NODES, "trials": trials}) == [
        ["primaries alone", "150", "1.00 (1.00 to 1.00)", "30", "–", "210 ms/s", "20 ms/s"],
        ["primaries and replicas", "255", "1.65 (1.50 to 1.80)", "30", "70 %", "210 ms/s", "120 ms/s"],
    ]
