"""What the stage's databases say, asked past the app."""

from loadtests.experiments import harm
from loadtests.experiments.scene import CannotError, Scene


def ask(scene: Scene, sql: str) -> list[list[str]]:
    """The rows of all databases of the stage, each a list of texts; a replica has none of its own.

    Raises CannotError where one does not answer.
    """
    found = []
    for box in scene.boxes.boxes:
        if "stage.database" in box.labels:
            psql = ["psql", "-h", "127.0.0.1", "-U", "conduit", "-d", "conduit", "-XqAt", "-F", "\t"]
            said = harm.inside(box, *psql, "-c", f"SELECT pg_is_in_recovery(); {sql}").splitlines()
            if said[:1] not in (["t"], ["f"]):
                raise CannotError(f"The database in {box.name} does not answer.")
            found += [line.split("\t") for line in said[1:] if said[0] == "f"]
    return found
