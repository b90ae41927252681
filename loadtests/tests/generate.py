"""The generator's loop with made-up rows, for tests that have no database."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import locust  # noqa: F401 - patches the sockets, so before whatever imports them

from loadtests.load.generator import serve
from loadtests.tests.made_up import made_up

if __name__ == "__main__":
    serve(made_up(), sys.argv[1])
