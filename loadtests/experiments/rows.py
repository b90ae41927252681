"""What the stage's databases say, asked past the app."""

from loadtests.ceiling.boxes import Box
from loadtests.experiments import harm
from loadtests.experiments.scene import CannotError, Scene

IS_REPLICA = "SELECT pg_is_in_recovery()"


def lines(box: Box, sql: str) -> list[str]:
    """What a database prints, tabs between its columns; nothing where it does not answer."""
    psql = ["psql", "-h", "127.0.0.1", "-U", "conduit", "-d", "conduit", "-XqAt", "-F", "\t"]
    return harm.inside(box, *psql, "-c", sql).splitlines()


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
