"""Sends requests with Locust's FastHttpUser and says how each ended, counted from its intended start."""

import time
from typing import Any

from locust import FastHttpUser
from locust.env import Environment

from loadtests.load.connections import Clients
from loadtests.load.mixes.actions import Request
from loadtests.load.samples import CONNECTION, REFUSED, TIMED_OUT, UNEXPECTED, Sample

TIME_OUT = 10.0
"""Seconds on connecting and on each wait for the answer."""
CONNECTIONS = 8000
"""At once, at most: more than there are ever requests in flight."""


class Sender(FastHttpUser):
    """One Locust user whose connections every arrival shares, so that arrivals, not users, make the load."""

    abstract = True
    host: str
    network_timeout = TIME_OUT
    connection_timeout = TIME_OUT

    def __init__(self, environment: Environment, host: str) -> None:
        self.host = host
        clients = Clients(concurrency=CONNECTIONS, network_timeout=TIME_OUT, connection_timeout=TIME_OUT)
        self.client_pool = clients
        self.strangers = clients.strangers
        super().__init__(environment)
        # Arrivals are different people who share connections: no cookie of one may go out with another. And an empty
        # jar, asked for each request, is a tenth of the generator's CPU.
        self.client.client.cookiejar = None

    def send(self, request: Request, intended: float) -> tuple[Sample, Request | None]:
        """Send one request and report it to Locust's events.

        Returns how it ended, and what the same person sends next, if anything. Never raises.
        """
        headers = dict(request.headers)
        if request.token:
            headers["Authorization"] = f"Token {request.token}"
        if request.body:
            headers["Content-Type"] = request.content_type
        try:
            response = self.client.request(
                request.method,
                request.path,
                name=request.route,
                data=request.body,  # type: ignore[arg-type]  # Locust's types know str only; bytes go out as they are
                headers=headers,
                catch_response=True,
            )
        except Exception as error:
            sample = Sample(request.route, intended, time.perf_counter(), f"client: {type(error).__name__}")
            self._report({"request_type": request.method, "response_length": 0, "exception": error}, sample)
            return sample, None
        finished, wrong, following = time.perf_counter(), _error(response), None
        if request.then is not None and not wrong:
            try:
                following = request.then(response.content or b"")
            except (ValueError, LookupError, TypeError):
                wrong = UNEXPECTED
        sample = Sample(request.route, intended, finished, wrong)
        self._report(response.request_meta, sample)
        return sample, following

    def refuse(self, intended: float) -> Sample:
        """Report an arrival that was not sent, since too many were in flight."""
        sample = Sample("not sent", intended, time.perf_counter(), REFUSED)
        self._report({"request_type": "-", "response_length": 0, "exception": None}, sample)
        return sample

    def _report(self, meta: dict[str, Any], sample: Sample) -> None:
        # The wait as its user would have known it, instead of the one since the greenlet ran. The route says
        # the method already, which Locust shows in a column of its own.
        meta["name"] = sample.route.removeprefix(f"{meta['request_type']} ")
        meta["response_time"] = (sample.finished - sample.intended) * 1000
        if sample.error and meta["exception"] is None:
            meta["exception"] = RuntimeError(sample.error)
        self.environment.events.request.fire(**meta)


def _error(response: Any) -> str:
    status = int(response.status_code or 0)
    # 304 is the answer that who keeps a page hopes for; nothing else here asks with If-None-Match.
    if 200 <= status < 300 or status == 304:
        return ""
    if status:
        return f"status {status}"
    cause = str(getattr(response, "error", "")).lower()
    return TIMED_OUT if "timed out" in cause or "timeout" in cause else CONNECTION
