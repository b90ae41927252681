"""What waits in a stage's queue, asked in one of its app boxes: the worker may be what is not well."""

from infra.stage import topology
from infra.stage.problems import Problem
from infra.stage.shell import compose, compose_rows, run


def show(number: int, retry: str) -> int:
    """Print the queue, or put back the dead task with the key ``retry`` ("all" for every one); the exit status."""
    stage = topology.read(number)
    if stage.worker is None:
        raise Problem(
            f"Stage {number} has no queue: its tasks run inside requests.",
            "The first stage with one: make stage4 queue",
            status=2,
        )
    rows = compose_rows(number, "ps", "--all")
    running = [row["Service"] for row in rows if row["State"] == "running" and row["Service"] in stage.apps]
    if not running:
        raise Problem(f"Stage {number} is not up.", f"Start it with: make stage{number} up")
    again = ["--retry", retry] if retry else []
    return run(compose(number, "exec", "-T", min(running), "python", "-m", "conduit", "queue", *again))
