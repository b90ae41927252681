"""What is in the outbox, in words, and another chance for dead letters: ``python -m conduit queue``."""

from conduit import outbox
from conduit.ports import Database

SHOWN = 20
_STATES = {
    "waiting": "not begun",
    "running": "a worker is at it",
    "retrying": "failed, and is tried again",
    "dead": "failed for good",
    "done": "in the last hour",
}


def summary(database: Database) -> str:
    """Tasks by state, the age of the oldest unfinished one, and the dead letters by key."""
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
    """Put back the dead letter with this key, or all of them with "all"; what was done, in words, or None where there
    is no such dead letter.
    """
    retried = outbox.retry(database, None if key == "all" else key)
    if not retried and key != "all":
        return None
    return f"{len(retried)} put back; a worker tries them in a few seconds." if retried else "There is nothing dead."
