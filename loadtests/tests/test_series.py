"""What of a second's arrivals was late is told with the second, apart from what failed."""

from loadtests.load.samples import TIMED_OUT, Sample
from loadtests.load.summary import series


def test_late_are_the_answers_over_the_slo_by_the_second_of_their_arrival() -> None:
    """Two late of four in the first second, one of which fails and is no answer; one in the last, ending after it."""
    samples = [
        Sample("GET /", 100.1, 100.6, ""),
        Sample("GET /", 100.2, 100.71, ""),
        Sample("GET /", 100.9, 102.5, ""),
        Sample("GET /", 100.3, 110.3, TIMED_OUT),
        Sample("GET /", 101.0, 101.4, ""),
        Sample("GET /", 102.99, 103.6, ""),
        Sample("GET /", 99.9, 101.0, ""),
        Sample("GET /", 103.0, 104.0, ""),
    ]
    rows = series(samples, 100.0, 3)
    assert [row["offered"] for row in rows] == [4, 1, 1]
    assert [row["late"] for row in rows] == [2, 0, 1]
    assert [row["errors"] for row in rows] == [1, 0, 0]
