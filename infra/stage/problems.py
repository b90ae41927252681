"""The one way a command fails: a sentence on what is wrong and one on what to do."""


class Problem(Exception):
    """What is wrong, and the remedy. Printed as it stands; the command exits with ``status``."""

    def __init__(self, wrong: str, remedy: str = "", status: int = 1) -> None:
        super().__init__(f"{wrong}\n{remedy}".rstrip())
        self.status = status
