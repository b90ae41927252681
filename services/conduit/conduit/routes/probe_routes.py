"""Liveness and readiness probes for health checks; not a part of the API."""

import asyncio

from fastapi import APIRouter, Request

router = APIRouter(include_in_schema=False)


@router.api_route("/health", methods=["GET", "HEAD"])
async def health(request: Request) -> dict[str, object]:
    """Alive, with the kind of adapter behind each port. It needs no thread: with busy threads it is not dead."""
    return {"status": "alive", "backends": request.app.state.services.backends}


@router.api_route("/ready", methods=["GET", "HEAD"])
async def ready(request: Request) -> dict[str, bool]:
    """Ready if the database answers. Raises UnavailableError otherwise.

    Probes are not limited in number, so all concurrent ones share one ping, and one thread.
    """
    state = request.app.state
    if state.ping is None or state.ping.done():
        state.ping = asyncio.create_task(state.threads.run_always(state.services.database.ping))
    await asyncio.shield(state.ping)  # a cancelled probe must not cancel the ping of the others
    return {"ready": True}
