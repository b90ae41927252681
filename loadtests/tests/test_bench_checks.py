"""What `make stage4 bench-checks` reads of a stage's file, and makes of what it measured."""

from loadtests.bench.checks import HEAD, _checks, figures
from loadtests.bench.columns import aligned


def test_a_check_is_what_docker_would_start_and_how_often() -> None:
    file = """
services:
  db: {healthcheck: {test: [CMD, healthy, "postgresql://127.0.0.1:5432"], interval: 1s}}
  worker: {healthcheck: {test: [CMD-SHELL, "find /tmp | grep -q ."], interval: 5s}}
  box: {healthcheck: {test: [CMD, healthy], interval: 5s}}
"""
    assert _checks(file, "set -eu\npg_isready") == {
        "db": (1.0, ["healthy", "postgresql://127.0.0.1:5432"]),
        "worker": (5.0, ["sh", "-c", "find /tmp | grep -q ."]),
        "box": (5.0, ["sh", "-c", "set -eu\npg_isready"]),
    }


def test_checks_cost_what_a_round_takes_more_than_one_without_them() -> None:
    spent = {"none": (2.0, 2.2, 9.0), "before": (8.2, 8.4, 8.0), "now": (2.5, 2.7, 2.8)}
    rounds = [
        {"round": place, "form": form, "cpu_ms_a_second": {"app": ms}}
        for form, figures in spent.items()
        for place, ms in enumerate(figures)
    ]
    rows = figures(rounds, {"app": 0.25})
    assert rows == [["app", "2.20", "6.00", "2.40 %", "0.50", "0.20 %"]]
    *_, line = aligned(HEAD, rows).splitlines()
    assert line.split() == ["app", "2.20", "6.00", "2.40", "%", "0.50", "0.20", "%"]
