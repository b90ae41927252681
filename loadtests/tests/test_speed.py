"""When a machine is at another speed than usual, and what is usual."""

from typing import Any

import pytest

from loadtests.ceiling.speed import Speed, Speeds, faster, usual


@pytest.mark.parametrize(
    ("fastest", "median", "share"),
    [
        (300, 600, 0.0),
        (250, 480, 0.2),  # 300/250 and 600/480 are 1.2 and 1.25
        (400, 1000, -0.25),  # 0.75 and 0.6
        (460, 610, -0.0164),  # a neighbour has the other thread of the core all the time
        (460, 590, 0.0),
        (300, 320, 0.0),  # it has gone
        (290, 900, 0.0),
        (310, 320, 0.0),
    ],
)
def test_a_machine_is_faster_or_slower_if_it_is_so_at_best_and_usually(
    fastest: float, median: float, share: float
) -> None:
    assert faster(Speed(300, 600), Speed(fastest, median)) == pytest.approx(share, abs=1e-4)


def test_the_usual_speed_is_the_median_of_the_trials_so_far() -> None:
    """300, 310, 300, 400, 305 ns a hash: the fourth is against the median of four, 305; each is a trial's whole."""
    speeds = Speeds()
    off = []
    for ns in (300.0, 310.0, 300.0, 400.0, 305.0):
        stretch = {"ns": 2 * ns, "median": 4 * ns}
        result: dict[str, Any] = {
            "canary": {"ns": ns, "median": 2 * ns},
            "stretches": [{"canary": stretch}, {"canary": None}],
        }
        speeds.tell(result)
        off.append(result["speed_off"])
        assert result["stretches"][0]["speed_off"] == pytest.approx((1 + off[-1]) / 2 - 1, abs=1e-4)
        assert "speed_off" not in result["stretches"][1]
    assert off == pytest.approx([0.0, 305 / 310 - 1, 0.0, 305 / 400 - 1, 0.0], abs=1e-4)
    speeds.tell({"canary": None})
    whole: dict[str, Any] = {"canary": {"ns": 300.0, "median": 700.0}}
    speeds.tell(whole)
    assert whole["speed_off"] == 0.0  # against 302.5 and 615 ns: not faster in both
    whole = {"canary": {"ns": 290.0, "median": 580.0}}
    speeds.tell(whole)
    assert whole["speed_off"] == 0.0345  # against 300 and 610 ns, to four places


def test_both_of_a_usual_speed_are_medians() -> None:
    trials = [{"result": {"canary": {"ns": ns, "median": median}}} for ns, median in ((1, 90), (2, 50), (9, 70))]
    assert usual([*trials, {"result": {}}, {}]) == Speed(2, 70)
    assert usual([{}]) is None
