"""Which reads the replicas of a stage take from their primaries, as its apps have counted since their start."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from infra.stage import nginx
from infra.stage.topology import DIRECTORY, Topology

METRICS = "http://127.0.0.1:9100/metrics"
_READS, _LAG = "conduit_replica_reads_total", "conduit_replica_lag_seconds"
# Why the primary answers, as conduit.metrics names it.
_WHY = {
    "busy": "the replica has more to do than the primary",
    "behind": "the replica lacks what the reader must see",
    "unknown": "nobody knows what the reader must see",
    "lagging": "the replica is further behind than MAX_LAG",
    "away": "the replica does not answer, or has just started",
}


def told(stage: Topology) -> Iterator[str]:
    """A line for each shard of which a replica may answer, and one for each reason why the primary did."""
    reads: Counter[tuple[str, str]] = Counter()
    lags: dict[str, float] = {}
    for app in stage.apps:
        said = nginx.inside(stage, app, *nginx.CURL, METRICS)
        for family in text_string_to_metric_families(said.stdout if said.returncode == 0 else ""):
            for sample in family.samples:
                if sample.name == _READS:
                    reads[sample.labels["server"], sample.labels["by"]] += int(sample.value)
                elif sample.name == _LAG:
                    server = sample.labels["server"]
                    lags[server] = max(sample.value, lags.get(server, 0.0))
    for server in (name for name in stage.databases if name != DIRECTORY):
        of_it = {by: count for (name, by), count in reads.items() if name == server}
        if total := sum(of_it.values()):
            old = f", at most {lags[server]:.1f} s old" if server in lags else ""
            yield f"{server}: a replica answered {_share(of_it, 'replica', total)} of {total} reads that it may{old}"
            for by, why in _WHY.items():
                if of_it.get(by):
                    yield f"  the primary {_share(of_it, by, total)}: {why}"


def _share(counts: dict[str, int], by: str, total: int) -> str:
    return f"{100 * counts.get(by, 0) / total:.1f} %"
