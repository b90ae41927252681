"""What is in the queue, in words, and another chance for what is dead: ``python -m conduit queue``."""

from conduit import task_rows
from conduit.ports import Database

SHOWN = 20
_STATES = {
    "waiting": "not begun",
    "running": "a worker is at it",
    "failed": "to be tried again",
    "dead": "had all its tries",
    "done": "in the last hour",
}


def summary(database: Database) -> str:
    """Tasks by state, how long the oldest has been waiting, and the dead by name."""
    found = task_rows.counts(database)
    lines = [f"{state:<8} {found.by_state.get(state, 0):>7}  {what}" for state, what in _STATES.items()]
    if found.oldest:
        lines.append(f"\nThe oldest that is not settled was asked for {found.oldest:.0f} s ago.")
    if dead := task_rows.dead(database, SHOWN):
        lines.append(f"\n{'dead':<56} {'tries':>5}  what went wrong in the last")
        lines += [f"{one.key:<56} {one.tries:>5}  {one.error}" for one in dead]
        if (more := found.by_state.get("dead", 0) - len(dead)) > 0:
            lines.append(f"and {more} more")
    return "\n".join(lines).rstrip()


def retry(database: Database, key: str) -> str | None:
    """Put a dead task back, or all with "all"; what was done, in words, or None where no such task is dead."""
    revived = task_rows.revive(database, None if key == "all" else key)
    if not revived and key != "all":
        return None
    return f"{len(revived)} put back; a worker tries them in a few seconds." if revived else "There is nothing dead."
