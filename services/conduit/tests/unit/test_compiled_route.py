"""Compiled routes do what FastAPI does, in one trip to a thread, and refuse what they do not support."""

import asyncio
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Annotated, Any

import httpx
import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    Header,
    Query,
    Request,
    Response,
    Security,
)
from fastapi.requests import HTTPConnection
from fastapi.responses import PlainTextResponse
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, Field

from conduit.bulkhead import Bulkhead
from conduit.pages import NO_FILES
from conduit.routing.compiled_route import CompiledRoute, UnsupportedRouteError, behind
from conduit.routing.compiled_routes import CompiledRoutes
from conduit.routing.error_handlers import add_error_handlers
from conduit.schemas import Answer
from conduit.threads import Threads


class Sent(BaseModel):
    name: str = Field(min_length=1)


class Said(Answer):
    name: str


class Read(Answer):
    number: int
    plain: str
    upper: str
    limit: int
    path: str


async def _async_dependency() -> int:
    return 1


def _with_yield() -> Iterator[int]:
    yield 1


def _nothing() -> int:
    return 1


def _async_endpoint(router: APIRouter) -> None:
    @router.get("/x", status_code=204)
    async def endpoint() -> None: ...


def _endpoint_of(parameter: Any) -> Any:
    def declare(router: APIRouter) -> None:
        def endpoint(given: Any) -> None: ...

        endpoint.__annotations__["given"] = parameter
        router.post("/x", status_code=204)(endpoint)

    return declare


def _two_bodies(router: APIRouter) -> None:
    @router.post("/x", status_code=204)
    def endpoint(one: Sent, two: Sent) -> None: ...


def _parts_left_out(router: APIRouter) -> None:
    @router.get("/x", response_model_exclude={"name"})
    def endpoint() -> Said:
        return Said("x")


def _with_convertor(router: APIRouter) -> None:
    @router.get("/x/{rest:path}", status_code=204)
    def endpoint(rest: str) -> None: ...


def _unused_dependency(router: APIRouter) -> None:
    @router.get("/x", dependencies=[Depends(_nothing)], status_code=204)
    def endpoint() -> None: ...


def _answering(answer: Any, **declared: Any) -> Any:
    def declare(router: APIRouter) -> None:
        def endpoint() -> Any: ...

        endpoint.__annotations__["return"] = answer
        router.get("/x", **declared)(endpoint)

    return declare


def _body_of_a_dependency(sent: Sent) -> Sent:
    return sent


REFUSED = {
    "an async endpoint": _async_endpoint,
    "an async dependency": _endpoint_of(Annotated[int, Depends(_async_dependency)]),
    "a dependency with yield": _endpoint_of(Annotated[int, Depends(_with_yield)]),
    "a dependency called anew": _endpoint_of(Annotated[int, Depends(_nothing, use_cache=False)]),
    "a dependency for its effect": _unused_dependency,
    "a cookie": _endpoint_of(Annotated[str, Cookie()]),
    "a header": _endpoint_of(Annotated[str, Header()]),
    "a list": _endpoint_of(Annotated[list[str], Query()]),
    "a model of parameters": _endpoint_of(Annotated[Sent, Query()]),
    "background tasks": _endpoint_of(BackgroundTasks),
    "a response": _endpoint_of(Response),
    "a key that is demanded": _endpoint_of(Annotated[str, Depends(APIKeyHeader(name="Key"))]),
    "a dependency that is async behind a partial": _endpoint_of(Annotated[int, Depends(partial(_async_dependency))]),
    "a dependency that takes the body": _endpoint_of(Annotated[Sent, Depends(_body_of_a_dependency)]),
    "security scopes": _endpoint_of(Annotated[int, Security(_nothing, scopes=["write"])]),
    "a connection": _endpoint_of(HTTPConnection),
    "a default factory": _endpoint_of(Annotated[str, Query(default_factory=str)]),
    "another name for validation": _endpoint_of(Annotated[str, Query(validation_alias="other")]),
    "a body that may be left out": _endpoint_of(Annotated[Sent | None, Body(default_factory=lambda: None)]),
    "a body within a body": _endpoint_of(Annotated[Sent, Body(embed=True)]),
    "an answer of pydantic's": _answering(Sent),
    "an answer that is a dictionary": _answering(dict[str, Any]),
    "an answer that may be missing": _answering(int | None),
    "no answer with status 200": _answering(None),
    "an answer of another model": _answering(Said, response_model=Sent),
    "another class of response": _answering(Said, response_class=PlainTextResponse),
    "names instead of aliases": _answering(Said, response_model_by_alias=False),
    "two bodies": _two_bodies,
    "a convertor": _with_convertor,
    "a part of a model": _parts_left_out,
}


@pytest.mark.parametrize("declare", REFUSED.values(), ids=REFUSED)
def test_an_unsupported_route_is_refused_when_it_is_declared(declare: Any) -> None:
    declare(APIRouter())  # FastAPI accepts it
    with pytest.raises(UnsupportedRouteError, match=r"/x.* is not compiled"):
        declare(APIRouter(route_class=CompiledRoute))


calls: list[str] = []


def _counted(q: str = "default") -> str:
    calls.append(q)
    return q


Counted = Annotated[str, Depends(_counted)]


def _upper(text: Counted) -> str:
    return text.upper()


def _base(n: int) -> int:
    return n


def _one(base: Annotated[int, Depends(_base)]) -> int:
    return base + 1


def _two(base: Annotated[int, Depends(_base)]) -> int:
    return base + 2


def _declare() -> APIRouter:
    router = APIRouter(route_class=CompiledRoute)

    @router.get("/text/{number}")
    def read(
        number: int, request: Request, plain: Counted, upper: Annotated[str, Depends(_upper)], limit: int = 5
    ) -> Read:
        return Read(number, plain, upper, limit, request.url.path)

    @router.post("/sent", status_code=201)
    def send(sent: Sent, needed: Annotated[int, Query(ge=1)]) -> Said:
        return Said(f"{sent.name} {needed}")

    @router.delete("/sent", status_code=204)
    def remove() -> None: ...

    @router.get("/file")
    def file() -> Response:
        return Response(b"bytes", media_type="text/csv", headers={"X-Own": "1"})

    @router.get("/dear")
    @behind("few")
    def dear() -> Said:
        return Said("dear")

    @router.get("/twice")
    def twice(one: Annotated[int, Depends(_one)], two: Annotated[int, Depends(_two)]) -> Said:
        return Said(f"{one} {two}")

    return router


class Client:
    """Asks an app without a server."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
                return await http.request(method, path, **arguments)

        return asyncio.run(ask())


@pytest.fixture(params=["compiled", "plain"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    router = _declare()
    app = FastAPI(strict_content_type=False)
    app.state.threads = Threads(2, max_wait=1.0)
    app.state.few = Bulkhead("dear things", 1, 0, 0.05)
    app.state.services = SimpleNamespace(pages=NO_FILES)
    app.include_router(router)
    add_error_handlers(app)
    if request.param == "compiled":
        app.add_middleware(CompiledRoutes, fastapi=app)
    calls.clear()
    yield Client(app)
    app.state.threads.close()


def test_an_endpoint_gets_the_parameters_and_dependencies_of_its_signature(client: Client) -> None:
    answer = client.ask("GET", "/text/7?q=abc&limit=9&limit=10")
    assert answer.json() == {"number": 7, "plain": "abc", "upper": "ABC", "limit": 10, "path": "/text/7"}
    assert calls == ["abc"], "a dependency is called once a request"
    assert client.ask("GET", "/text/7").json()["plain"] == "default"


@pytest.mark.parametrize(
    ("path", "body", "errors"),
    [
        ("/sent?needed=1", b"", {"body": ["can't be blank"]}),
        ("/sent?needed=1", b"{", {"body": ["is not valid JSON"]}),
        ("/sent?needed=1", b"[]", {"body": ["must be an object"]}),
        ("/sent?needed=1", b'{"name": ""}', {"name": ["can't be blank"]}),
        ("/sent?needed=0", b'{"name": 1}', {"needed": ["must be at least 1"], "name": ["must be a text"]}),
        ("/sent", b'{"name": "x"}', {"needed": ["can't be blank"]}),
        ("/sent?needed=x", b'{"name": "x"}', {"needed": ["must be a whole number"]}),
    ],
)
def test_all_errors_are_reported(client: Client, path: str, body: bytes, errors: dict[str, list[str]]) -> None:
    answer = client.ask("POST", path, content=body)
    assert answer.status_code == 422
    assert answer.json() == {"errors": errors}


def test_responses_have_their_status_and_content_type(client: Client) -> None:
    answer = client.ask("POST", "/sent?needed=1", json={"name": "x"})
    assert (answer.status_code, answer.json()) == (201, {"name": "x 1"})
    assert answer.headers["content-type"] == "application/json"
    removed = client.ask("DELETE", "/sent")
    assert (removed.status_code, removed.content) == (204, b"")
    file = client.ask("GET", "/file")
    assert (file.content, file.headers["x-own"], file.headers["content-type"]) == (
        b"bytes",
        "1",
        "text/csv; charset=utf-8",
    )


def test_other_paths_and_methods_are_left_to_fastapi(client: Client) -> None:
    assert client.ask("GET", "/nothing").status_code == 404
    refused = client.ask("PUT", "/sent")
    assert refused.status_code == 405
    assert refused.json() == {"errors": {"body": ["Method Not Allowed"]}}


def test_an_invalid_number_is_reported_by_its_parameters_name(client: Client) -> None:
    assert client.ask("GET", "/text/x").json() == {"errors": {"number": ["must be a whole number"]}}


def test_a_route_behind_a_bulkhead_waits_without_a_thread(client: Client) -> None:
    app = client._app
    if not app.user_middleware:
        pytest.skip("FastAPI alone does not look at bulkheads")

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
            async with app.state.few.slot():
                refused = await http.get("/dear")
                others = await http.get("/file")
            return [refused.status_code, others.status_code, (await http.get("/dear")).status_code]

    assert asyncio.run(ask()) == [503, 200, 200]


def test_what_a_failed_dependency_would_have_given_is_missed_by_all_that_take_it(client: Client) -> None:
    assert client.ask("GET", "/twice?n=1").json() == {"name": "2 3"}
    answer = client.ask("GET", "/twice?n=a")
    assert (answer.status_code, answer.json()) == (422, {"errors": {"n": ["must be a whole number"]}})


@pytest.mark.parametrize(
    "include",
    [{"prefix": "/p"}, {"dependencies": [Depends(_nothing)]}],
    ids=["a prefix", "dependencies"],
)
def test_a_router_that_is_included_with_more_is_refused(include: dict[str, Any]) -> None:
    app = FastAPI()
    app.include_router(_declare(), **include)
    with pytest.raises(UnsupportedRouteError, match="is compiled as its router declares it"):
        CompiledRoutes(app, app)


def test_dependencies_that_are_overridden_are_refused() -> None:
    app = FastAPI()
    app.include_router(_declare())
    app.dependency_overrides[_counted] = _nothing
    with pytest.raises(UnsupportedRouteError, match="dependency_overrides"):
        CompiledRoutes(app, app)
