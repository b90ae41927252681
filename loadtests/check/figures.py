"""What a run of the check found, for the docs."""

from typing import Any

HEAD = ("fault", "pins, commits", "acknowledged", "unknown", "lost", "doubled", "reads", "stale", "back in time")


def lines(run: dict[str, Any]) -> list[list[str]]:
    """A row for each fault."""
    pins = "pins" if run["read_your_writes"] else "no pins"
    sync = {"off": "asynchronous", "on": "synchronous", "strict": "strictly synchronous"}.get(run["sync"])
    how = f"{pins}, {sync}" if sync else "–"  # without replicas there is neither
    found = []
    for trial in run["trials"]:
        writes, reads = trial["counts"].values(), trial["reads"].values()
        numbers = (
            sum(one["acknowledged"] for one in writes),
            sum(one["unknown"] for one in writes),
            sum(len(one["lost"]) for one in writes),
            sum(len(one["doubled"]) for one in writes),
            sum(one["reads"] for one in reads),
            sum(len(one["stale"]) for one in reads),
            sum(len(one["back"]) for one in reads),
        )
        found.append([trial["fault"], how, *(f"{number:,}" for number in numbers)])
    return found
