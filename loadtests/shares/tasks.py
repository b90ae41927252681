"""What the app itself counts of its slow work, out of its metrics in Prometheus' text format."""

import re

KINDS = ("image", "drop", "mail", "report")
_TASK_CPU = re.compile(r'^conduit_task_cpu_seconds_total\{task="([^"]+)"\} (\S+)$', re.MULTILINE)


def cpu_seconds(metrics: str) -> dict[str, float]:
    """CPU seconds so far by kind of slow work, 0 of what was not done yet; empty where it is not the app that tells."""
    if "conduit_" not in metrics:
        return {}
    return dict.fromkeys(KINDS, 0.0) | {task: float(value) for task, value in _TASK_CPU.findall(metrics)}


def cpus(before: str, after: str, seconds: float) -> dict[str, float]:
    """CPUs used by kind of slow work between two readings of the metrics, on average over ``seconds`` of load."""
    was, now = cpu_seconds(before), cpu_seconds(after)
    # A counter that went back was begun anew, by an app that was started anew.
    return {task: max(0.0, value - was.get(task, 0.0)) / seconds for task, value in now.items()}
