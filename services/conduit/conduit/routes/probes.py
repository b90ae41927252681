"""Is this process alive, and can it do its work? For health checks; not part of the API."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from conduit.http import services

router = APIRouter(include_in_schema=False)


@router.get("/health")
async def health(request: Request) -> JSONResponse:
    """Alive, and what is wired. Answers on the event loop, so that busy threads do not make it look dead."""
    return JSONResponse({"status": "alive", "wired": services(request).wired})


@router.get("/ready")
def ready(request: Request) -> JSONResponse:
    """The database answers. Raises UnavailableError otherwise."""
    services(request).database.ping()
    return JSONResponse({"ready": True})
