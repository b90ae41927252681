"""The outbox for operators: a summary, and a retry of dead letters. ``python -m conduit queue``."""

from conduit import outbox
from conduit.ports import Database

SHOWN = 20
_STATES = {
    "waiting": "not started",
    "running": "claimed by a worker",
    "retrying": "failed, will be retried",
    "dead": "failed for good",
    "done": "in the last hour",
}


def summary(database: Database) -> str:
    """The number of tasks by state, the age of the oldest unfinished one, and the dead letters by key."""
    found = outbox.counts(database)
    lines = [f"{state:<8} {found.by_state.get(state, 0):>7}  {what}" for state, what in _STATES.items()]
    if found.oldest:
        lines.append(f"\nThe oldest unfinished task is {found.oldest:.0f} s old.")
    if dead := outbox.dead(database, SHOWN):
        lines.append(f"\n{'dead':<56} {'attempts':>8}  the last error")
        lines += [f"{row.key:<56} {row.attempts:>8}  {row.error}" for row in dead]
        if (more := found.by_state.get("dead", 0) - len(dead)) > 0:
            lines.append(f"and {more} more")
    return "\n".join(lines).rstrip()


def retry(database: Database, key: str) -> str | None:
    """Requeue the dead letter with this key, or all of them with "all". Returns a message, or None if no dead letter
    has this key.
    """
    retried = outbox.retry(database, None if key == "all" else key)
    if not retried and key != "all":
        return None
    if not retried:
        return "There are no dead tasks."
    return f"{len(retried)} requeued; a worker retries them in a few seconds."
