"""Whether what a server holds may be replaced."""

from data.loading import marker
from data.loading.bulk import Target
from data.loading.failures import Refused, explained


def ask(targets: list[Target], what: str, replace: bool) -> None:
    """Locks the targets and makes sure that each may be filled.

    It may when it is empty, holds only what a seed or an import put there, or ``replace`` is meant.
    ``what`` names what would replace it. Raises Refused otherwise, naming the way out.
    """
    for target in targets:
        target.lock()
    if replace:
        return
    for target in targets:
        with explained(target.server.label):
            if marker.is_empty(target.connection):
                continue
            mark = marker.read(target.connection)
            if mark is not None and marker.untouched(target.connection, mark):
                continue
        held = "data that no seed or import made" if mark is None else f"what people or load tests wrote {_on(mark)}"
        raise Refused(
            f"{target.server.label} holds {held}; {what} would replace it. To lose that data, empty the stage with "
            f"`make stageN down VOLUMES=1` and `make stageN up`, or repeat the command with REPLACE=1 "
            f"(--replace where make does not start it). Nothing was changed."
        )


def _on(mark: marker.Marker) -> str:
    return f"on top of the seed “{mark.seed.size}”" if mark.seed else "on top of an import"
