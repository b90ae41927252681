"""What the stage's databases say, asked past the app."""

from collections.abc import Iterable, Mapping

from loadtests.ceiling.boxes import Box
from loadtests.experiments import harm
from loadtests.experiments.scene import CannotError, Scene

IS_REPLICA = "SELECT pg_is_in_recovery()"
# Asked of a primary: whether its replica follows and has nearly everything.
FOLLOWED = """
    SELECT count(*) > 0 FROM pg_stat_replication
    WHERE application_name <> 'pg_basebackup' AND state = 'streaming' AND replay_lsn >= pg_current_wal_lsn() - 65536
"""
_SUPERUSER = ("psql", "-h", "/run/postgresql", "-U", "box", "-d", "postgres", "-Xq", "-v", "ON_ERROR_STOP=1")


def lines(box: Box, sql: str) -> list[str]:
    """What a database prints, tabs between its columns; nothing where it does not answer."""
    psql = ["psql", "-h", "127.0.0.1", "-U", "conduit", "-d", "conduit", "-XqAt", "-F", "\t"]
    return harm.inside(box, *psql, "-c", sql).splitlines()


def primary(boxes: Mapping[str, Box], nodes: Iterable[str]) -> str:
    """Which of a shard's nodes is the primary. Raises CannotError where none says so."""
    return _node(boxes, nodes, "f", "primary")


def replica(boxes: Mapping[str, Box], nodes: Iterable[str]) -> str:
    """Which of a shard's nodes is the replica. Raises CannotError where none says so."""
    return _node(boxes, nodes, "t", "replica")


def _node(boxes: Mapping[str, Box], nodes: Iterable[str], is_replica: str, what: str) -> str:
    names = list(nodes)
    for name in names:
        if lines(boxes[name], IS_REPLICA) == [is_replica]:
            return name
    raise CannotError(f"Of {' and '.join(names)} none says that it is the {what}.")


def as_superuser(box: Box, sql: str) -> None:
    """Have a database do what only its superuser may. Raises CannotError where it does not."""
    try:
        code, out = box.container.exec_run([*_SUPERUSER, "-c", sql])
    except harm.DOCKER_ERRORS as error:
        raise CannotError(f"{box.name} does not answer: {error}") from error
    if code:
        raise CannotError(f"The database in {box.name} did not do what it should: {out.decode(errors='replace')}")


def ask(scene: Scene, sql: str) -> list[list[str]]:
    """The rows of all databases of the stage, each a list of texts; a replica has none of its own.

    Raises CannotError where one does not answer.
    """
    found = []
    for box in scene.boxes.boxes:
        if "stage.database" in box.labels:
            said = lines(box, f"{IS_REPLICA}; {sql}")
            if said[:1] not in (["t"], ["f"]):
                raise CannotError(f"The database in {box.name} does not answer.")
            found += [line.split("\t") for line in said[1:] if said[0] == "f"]
    return found
