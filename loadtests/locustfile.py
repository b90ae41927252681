"""Locust's web UI over the open model: the UI's number of users is the offered rate in requests per second.

Locust's users are a closed model: each waits for its answer. So here a user stands for one request per second
that is offered and sends nothing itself; one dispatcher reads how many there are and sends that many
arrivals, whatever becomes of them. Ramp-up in the UI is then a ramp of the rate, and its chart of users shows
the offered rate.
"""

import os
import random
import sys
import time
from typing import Any

import gevent
from flask import Response
from locust import User, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner

from loadtests.load import dataset, mixes
from loadtests.load.mixes.actions import Request
from loadtests.load.open_model import OpenModel
from loadtests.load.sender import Sender
from loadtests.load.site_assets import SiteError

LABELS = {
    "Number of users (peak concurrency)": "Requests per second, offered (Locust's users: each stands for one)",
    "Ramp up (users started/second)": "Ramp up (by so many requests per second, each second)",
}
_state: dict[str, Any] = {}


class RequestsPerSecond(User):
    """One request per second, offered: the number of users is the rate."""

    @task
    def stand_for_one(self) -> None:
        """Wait; the dispatcher sends."""
        gevent.sleep(3600)


def _arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument(
        "--mix",
        choices=list(mixes.NAMES),
        default=os.environ.get("MIX", "browse"),
        help="Traffic mix. The number of users is the offered rate in requests per second (open model).",
    )


def _read_dataset(environment: Environment, **_: object) -> None:
    if isinstance(environment.runner, MasterRunner):
        return
    if environment.web_ui is not None and environment.web_ui.app is not None:
        environment.web_ui.app.after_request(_relabel)
    # The UI may be asked to start with its host field emptied.
    _state["host"] = environment.host or ""
    try:
        _state["data"] = dataset.read(dataset.parse_databases(os.environ.get("DATABASE_URL", "").split()))
    except dataset.EmptyDatasetError as error:
        sys.exit(f"Nothing to ask for: {error}. Load the dataset first: make stageN seed")
    except dataset.DatabaseUnreachableError as error:
        sys.exit(f"{error}\nIs the stage up? make stageN up")


def _relabel(response: Response) -> Response:
    """The UI's own script with its labels saying what its numbers mean here; as it is, should they have changed."""
    if (response.mimetype or "").endswith("javascript"):
        response.direct_passthrough = False
        script = response.get_data(as_text=True)
        for theirs, ours in LABELS.items():
            script = script.replace(theirs, ours)
        response.set_data(script)
    return response


def _start(environment: Environment, **_: object) -> None:
    if "data" not in _state:
        return
    runner = environment.runner
    assert runner is not None, "a test has a runner once it starts"
    assert environment.parsed_options is not None, "and options"
    mix = mixes.load(environment.parsed_options.mix)
    rng = random.Random()
    data = _state["data"]
    sender = Sender(environment, environment.host or _state["host"])
    try:
        draw = mix.begin(rng, data, sender.host)
    except SiteError as error:
        # The UI shows it among its failures, and why; there is nothing to send.
        told = {"request_type": "-", "name": "pages", "response_time": 0, "response_length": 0, "context": {}}
        environment.events.request.fire(**told, exception=error)  # type: ignore[no-untyped-call]
        return
    started = time.perf_counter()

    def rate(_seconds: float) -> float:
        offered = float(runner.user_count) * mix.factor(time.perf_counter() - started)
        return offered / mix.requests_an_arrival

    def serve(intended: float) -> None:
        request: Request | None = draw()
        while request is not None:
            _, request = sender.send(request, intended)
            intended = time.perf_counter()

    model = OpenModel(rate=rate, serve=serve, refuse=sender.refuse, rng=rng)
    _state["dispatcher"] = gevent.spawn(model.run)


def _stop(**_: object) -> None:
    dispatcher = _state.pop("dispatcher", None)
    if dispatcher is not None:
        dispatcher.kill()


_listeners: tuple[tuple[Any, Any], ...] = (
    (events.init_command_line_parser, _arguments),
    (events.init, _read_dataset),
    (events.test_start, _start),
    (events.test_stop, _stop),
)
for _event, _listener in _listeners:
    _event.add_listener(_listener)
