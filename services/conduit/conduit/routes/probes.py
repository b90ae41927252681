"""Is this process alive, and can it do its work? For health checks; not part of the API."""

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from conduit.http import services


async def health(request: Request) -> JSONResponse:
    """Alive, and what is wired. Answers on the event loop, so that busy threads do not make it look dead."""
    request.scope["route"] = "/health"
    return JSONResponse({"status": "alive", "wired": services(request).wired})


async def ready(request: Request) -> JSONResponse:
    """The database answers. Raises UnavailableError otherwise.

    Nothing bounds these requests, so all that come while it is asked share its answer, and one thread.
    """
    request.scope["route"] = "/ready"
    state = request.app.state
    if state.ping is None or state.ping.done():
        state.ping = asyncio.create_task(state.threads.run_however_late(services(request).database.ping))
    await asyncio.shield(state.ping)  # who is cancelled must not end it for the others
    return JSONResponse({"ready": True})


ROUTES = (Route("/health", health), Route("/ready", ready))
