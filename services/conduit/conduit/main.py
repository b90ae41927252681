"""The API process: FastAPI around the services."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from conduit.api_docs import add_docs
from conduit.bulkhead import Bulkhead, PlacesOfUsers
from conduit.middleware.access_log import AccessLog
from conduit.middleware.given_parameters import GivenParameters
from conduit.middleware.request_context import RequestContext
from conduit.middleware.request_limits import RequestLimits
from conduit.pages import Pages
from conduit.routes import (
    article_routes,
    comment_routes,
    cover_routes,
    probe_routes,
    profile_routes,
    report_routes,
    tag_routes,
    user_routes,
)
from conduit.routing.body import LARGE_BYTES
from conduit.routing.compiled_routes import CompiledRoutes
from conduit.routing.error_handlers import add_error_handlers
from conduit.services import Services
from conduit.settings import Settings
from conduit.threads import Threads
from conduit.uploads import Uploads

ROUTERS = (
    article_routes.router,
    comment_routes.router,
    cover_routes.router,
    cover_routes.async_router,
    profile_routes.router,
    report_routes.router,
    tag_routes.router,
    user_routes.router,
    probe_routes.router,
)

MAX_BODY_BYTES = 1_000_000
LARGE_BODIES_OF_A_USER = 4  # that arrive at once; the balancer has the same number for a token
# Whoever waits for longer is too late for an answer in half a second, where a hash takes 0.2 s. Below that the order of
# arrival keeps anybody from being passed over by those who come again and again.
SIGN_INS_STAND_SECONDS = 0.3
_COVER = re.compile("/api/articles/[^/]+/cover")
# How long a browser need not ask again what another origin may do. Chromium keeps it for two hours at most.
PREFLIGHT_SECONDS = 7_200


class ConduitApp(FastAPI):
    """FastAPI with the added middleware around its own layers, not within them.

    Its layers answer errors and close what a request opened. A compiled route needs neither, so it passes none of them.
    Nor is telemetry, which is off, looked for at each request.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Starlette.__call__ if scope["type"] == "http" else FastAPI.__call__
        await call(self, scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        added, self.user_middleware = self.user_middleware, []
        stack = super().build_middleware_stack()
        self.user_middleware = added
        for middleware, arguments, options in reversed(added):
            stack = middleware(stack, *arguments, **options)
        return stack


def create_app(settings: Settings, services: Services) -> FastAPI:
    """The ASGI app. It closes the services when it stops."""
    threads = Threads(settings.threads, settings.max_wait)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # AnyIO's threads serve the routes that are not compiled: as many of them as of ours.
        current_default_thread_limiter().total_tokens = settings.threads
        await threads.run_always(services.before_requests)
        yield
        services.after_requests()
        threads.close()
        services.close()

    app = ConduitApp(
        title="Conduit",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # add_docs serves them, without a CDN
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        redirect_slashes=False,  # a redirect would trust the Host header
        strict_content_type=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # metrics and logs are AccessLog's
    )
    app.state.services = services
    app.state.threads = threads
    app.state.uploads = Uploads(settings.uploads_at_once, settings.upload_wait_seconds)
    app.state.large_bodies = PlacesOfUsers("large bodies", LARGE_BODIES_OF_A_USER)
    app.state.hashing = _hashing(settings)
    app.state.trusted_proxies = settings.trusted_networks
    app.state.ping = None
    for router in ROUTERS:
        app.include_router(router)
    add_docs(app)
    add_error_handlers(app)
    _add_middleware(app, settings, services, threads)
    return app


def _hashing(settings: Settings) -> Bulkhead:
    slots, most = settings.password_hashes_at_once, settings.max_in_flight // 2
    return Bulkhead("sign-ins", slots, most, settings.hash_wait_seconds, stands=SIGN_INS_STAND_SECONDS)


def _add_middleware(app: FastAPI, settings: Settings, services: Services, threads: Threads) -> None:
    """Add middleware, innermost first: the last one added is the first to see a request."""
    pages: dict[str, Any] = {"files": services.pages}
    if settings.routes == "compiled":
        app.add_middleware(CompiledRoutes, fastapi=app)
    app.add_middleware(GivenParameters)
    app.add_middleware(Pages, **pages)
    app.add_middleware(
        RequestLimits,
        max_in_flight=settings.max_in_flight,
        make_room=threads.drop_oldest,
        max_body_bytes=_max_body_bytes,
        max_bytes_at_once=settings.max_body_bytes_at_once,
        body_seconds=settings.body_seconds,
        exempt=services.pages.has,
    )
    app.add_middleware(AccessLog)
    # Around whatever answers, so that a page on another origin can read errors, too.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
        expose_headers=["Retry-After", "X-Partial", "X-Request-Id"],
        max_age=PREFLIGHT_SECONDS,
    )
    app.add_middleware(RequestContext, reads_replicas=settings.pins_url is not None)


def _max_body_bytes(path: str) -> int:
    if _COVER.fullmatch(path):
        return cover_routes.MAX_UPLOAD_BYTES
    # Nobody is signed in yet.
    return LARGE_BYTES if path in user_routes.BY_ANYBODY else MAX_BODY_BYTES
