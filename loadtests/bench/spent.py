"""The CPU that boxes have taken."""

from collections.abc import Iterable

from loadtests.ceiling.boxes import Box


def cpu_ms(boxes: Iterable[Box]) -> dict[str, float]:
    """So far, by the box's name; Docker reads it outside of the boxes."""
    stats = {box.name: box.container.stats(stream=False, one_shot=True) for box in boxes}
    return {box: one["cpu_stats"]["cpu_usage"]["total_usage"] / 1e6 for box, one in stats.items()}
