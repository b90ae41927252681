"""Is this process alive, and can it do its work? For health checks; no part of the API."""

import asyncio

from fastapi import APIRouter, Request

router = APIRouter(include_in_schema=False)


@router.api_route("/health", methods=["GET", "HEAD"])
async def health(request: Request) -> dict[str, object]:
    """Alive, and which adapter stands behind each port. Needs no thread, so busy threads do not make it look dead."""
    return {"status": "alive", "backends": request.app.state.services.backends}


@router.api_route("/ready", methods=["GET", "HEAD"])
async def ready(request: Request) -> dict[str, bool]:
    """The database answers. Raises UnavailableError otherwise.

    Nothing bounds these requests, so all that come while the database is asked share its answer, and one thread.
    """
    state = request.app.state
    if state.ping is None or state.ping.done():
        state.ping = asyncio.create_task(state.threads.run_always(state.services.database.ping))
    await asyncio.shield(state.ping)  # one that is cancelled must not cancel the others' answer
    return {"ready": True}
