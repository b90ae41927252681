"""Is this process alive, and can it do its work? For health checks; not part of the API."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from conduit.http import services


async def health(request: Request) -> JSONResponse:
    """Alive, and what is wired. Answers on the event loop, so that busy threads do not make it look dead."""
    request.scope["route"] = "/health"
    return JSONResponse({"status": "alive", "wired": services(request).wired})


async def ready(request: Request) -> JSONResponse:
    """The database answers. Raises UnavailableError otherwise."""
    request.scope["route"] = "/ready"
    await request.app.state.threads.run_however_late(services(request).database.ping)
    return JSONResponse({"ready": True})


ROUTES = (Route("/health", health), Route("/ready", ready))
