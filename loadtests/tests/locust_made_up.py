"""The locustfile with made-up rows, for tests that have no database."""

import locust  # noqa: F401 - patches the sockets, so before whatever imports them

from loadtests.load import dataset
from loadtests.tests.made_up import made_up

dataset.read = lambda *_: made_up()

# Locust takes its users from the names of this file; the rest of that one registers itself.
from loadtests.locustfile import RequestsPerSecond  # noqa: E402, F401
