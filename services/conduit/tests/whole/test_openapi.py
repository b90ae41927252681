"""The OpenAPI description is true: every request that it allows gets a response that it describes, and no 500.

In this process, or against a running stage (--stage-url), with fewer examples because its boxes are small.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest
import schemathesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from conduit.main import ROUTERS
from conduit_testing.client import Api, Person
from conduit_testing.deployments import Deployment, NewDatabase, deployed_on_one_server
from conduit_testing.pictures import FORMATS, upload

ROUTES = [
    (method, route)
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute) and route.include_in_schema
    for method in sorted(route.methods or ())
]
EXAMPLES = {"in process": 25, "stage": 8}
ANY_BYTES = "application/octet-stream"
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def stage_url(request: pytest.FixtureRequest) -> str | None:
    url: str | None = request.config.getoption("--stage-url")
    return url


@pytest.fixture(scope="module")
def deployment(stage_url: str | None, request: pytest.FixtureRequest) -> Iterator[Deployment]:
    if stage_url:
        yield Deployment(stage_url.rstrip("/"))
        return
    new_database: NewDatabase = request.getfixturevalue("new_database")
    with deployed_on_one_server(new_database) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def examples(stage_url: str | None) -> int:
    return EXAMPLES["stage" if stage_url else "in process"]


@pytest.fixture(scope="module")
def jo(deployment: Deployment) -> Iterator[Person]:
    with httpx.Client(base_url=deployment.base_url, timeout=20) as http:
        yield Api(http).sign_up()


# An upload is an image, or else random bytes.
for kind in FORMATS:
    images = st.sampled_from([upload(kind), upload(kind, 7, 9), upload(kind)[:-9]])
    schemathesis.openapi.media_type(f"image/{kind.lower()}", images | st.binary(max_size=200))


@pytest.fixture(scope="module")
def schema(deployment: Deployment) -> Any:
    return schemathesis.openapi.from_url(f"{deployment.base_url}/api/openapi.json")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as allowed", "otherwise"])
@pytest.mark.parametrize(("method", "route"), ROUTES, ids=[f"{method} {route.path}" for method, route in ROUTES])
def test_any_request_is_answered_as_described(  # noqa: PLR0917 - its fixtures
    method: str, route: APIRoute, mode: GenerationMode, schema: Any, jo: Person, examples: int
) -> None:
    operation = schema[route.path][method]
    described = operation.definition.raw
    if mode is GenerationMode.NEGATIVE and not _can_be_wrong(described):
        mode = GenerationMode.POSITIVE  # any text is allowed there
    slug = jo.slug()
    make: dict[str, Callable[[], str | int]] = {
        "slug": lambda: slug,
        "comment_id": lambda: jo.comment(slug)["id"],
        "username": lambda: jo.username,
        "report_id": lambda: jo.report()["id"],
        "name": lambda: jo.cover(slug, upload())["small"].rpartition("/")[2],
    }
    there = {name: make[name]() for name in re.findall(r"{(\w+)}", route.path)}
    if "slug" in there:
        assert jo.upload(slug, upload()).status_code == 200

    @given(case=operation.as_strategy(generation_mode=mode), about_what_is_there=st.booleans(), nobody=st.booleans())
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any, about_what_is_there: bool, nobody: bool) -> None:
        # With random values, hardly any request would be about an existing article or user.
        if about_what_is_there:
            case.path_parameters = {name: there[name] for name in case.path_parameters or {}}
        # An edge cache itself answers requests without a token if it can.
        headers = {} if nobody and not _signed_in(described) else {"Authorization": f"Token {jo.token}"}
        case.call_and_validate(checks=CHECKS, headers=headers)

    ask()


def _signed_in(operation: dict[str, Any]) -> bool:
    """Whether the operation needs a token."""
    return "security" in operation and {} not in operation["security"]


def _can_be_wrong(operation: dict[str, Any]) -> bool:
    return "requestBody" in operation or any(each["in"] == "query" for each in operation.get("parameters", ()))


@pytest.fixture(scope="module")
def described(deployment: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{deployment.base_url}/api/openapi.json").json()
    return found


# The operations of RealWorld's contract: the status of success, the required fields of the body and of the response
# within their envelopes, and the errors. "?" marks operations that need no token.
class Operation(NamedTuple):
    status: int
    takes: str
    gives: str
    errors: set[int]
    anybody: bool = False


_USER = "user: bio email image token username"
_PROFILE = "profile: bio following image username"
_SUMMARY = "author createdAt description favorited favoritesCount slug tagList title updatedAt"
_ARTICLE = f"article: {_SUMMARY} body"
_ARTICLES = f"articles: {_SUMMARY}"
_COMMENT = "author body createdAt id updatedAt"
CONTRACT = {
    "POST /users/login": Operation(200, "user: email password", _USER, {401, 422}, True),
    "POST /users": Operation(201, "user: email password username", _USER, {409, 422}, True),
    "GET /user": Operation(200, "", _USER, {401}),
    "PUT /user": Operation(200, "user:", _USER, {401, 422}),
    "GET /profiles/{username}": Operation(200, "", _PROFILE, {401, 404}, True),
    "POST /profiles/{username}/follow": Operation(200, "", _PROFILE, {401, 404}),
    "DELETE /profiles/{username}/follow": Operation(200, "", _PROFILE, {401, 404}),
    "GET /articles/feed": Operation(200, "", _ARTICLES, {401, 422}),
    "GET /articles": Operation(200, "", _ARTICLES, {401, 422}, True),
    "POST /articles": Operation(201, "article: body description title", _ARTICLE, {401, 422}),
    "GET /articles/{slug}": Operation(200, "", _ARTICLE, {404}, True),
    "PUT /articles/{slug}": Operation(200, "article:", _ARTICLE, {401, 403, 404, 422}),
    "DELETE /articles/{slug}": Operation(204, "", "", {401, 403, 404}),
    "GET /articles/{slug}/comments": Operation(200, "", f"comments: {_COMMENT}", {401, 404}, True),
    "POST /articles/{slug}/comments": Operation(201, "comment: body", f"comment: {_COMMENT}", {401, 404, 422}),
    "DELETE /articles/{slug}/comments/{comment_id}": Operation(204, "", "", {401, 403, 404}),
    "POST /articles/{slug}/favorite": Operation(200, "", _ARTICLE, {401, 404}),
    "DELETE /articles/{slug}/favorite": Operation(200, "", _ARTICLE, {401, 404}),
    "GET /tags": Operation(200, "", "tags", set(), True),
}


@pytest.mark.parametrize("operation", CONTRACT)
def test_every_operation_matches_the_contract(described: dict[str, Any], operation: str) -> None:
    method, _, path = operation.partition(" ")
    wanted = CONTRACT[operation]
    found = described["paths"][f"/api{path}"][method.lower()]
    good = [status for status in found["responses"] if status.startswith("2")]
    assert good == [str(wanted.status)]
    assert _fields(described, found.get("requestBody", {})) == _named(wanted.takes)
    answer = _fields(described, found["responses"][good[0]])
    assert {field for field in answer if not field.endswith((".cover", ".articlesCount"))} == _named(wanted.gives)
    assert wanted.errors <= {int(status) for status in found["responses"]}
    assert _signed_in(found) == (not wanted.anybody)


def _named(text: str) -> set[str]:
    envelope, _, fields = text.partition(":")
    return {f"{envelope}.{field}" for field in fields.split()} if fields else ({envelope} if envelope else set())


def _fields(described: dict[str, Any], part: dict[str, Any]) -> set[str]:
    """The required fields of a body or a response, each with its envelope: ``article.title``."""
    if not part.get("content"):
        return set()
    body = _resolved(described, part["content"]["application/json"]["schema"])
    found = set()
    for envelope in body["required"]:
        schema = body["properties"][envelope]
        if schema.get("type") == "array":
            schema = schema["items"]
        inner = _resolved(described, schema)
        if envelope == "articlesCount":
            continue
        if inner.get("type") == "object":
            found |= {f"{envelope}.{field}" for field in inner.get("required", ())} or {envelope}
        else:
            found.add(envelope)
    return found


def _resolved(described: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        found: dict[str, Any] = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def test_limits_of_texts_and_numbers_are_described(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    assert schemas["NewUser"]["properties"]["username"]["maxLength"] == 64
    assert schemas["NewArticle"]["properties"]["title"] | {"title": ""} == {
        "type": "string", "minLength": 1, "maxLength": 300, "title": "",
    }  # fmt: skip
    parameters = {each["name"]: each["schema"] for each in described["paths"]["/api/articles"]["get"]["parameters"]}
    assert (parameters["limit"]["minimum"], parameters["limit"]["maximum"], parameters["limit"]["default"]) == (
        1,
        100,
        20,
    )


def test_every_operation_describes_only_its_errors_in_the_apis_shape(described: dict[str, Any]) -> None:
    for path, item in described["paths"].items():
        for method, operation in item.items():
            where = f"{method} {path}"
            errors = {int(status) for status in operation["responses"] if status >= "4"}
            for status in errors:
                answer = operation["responses"][str(status)]["content"]["application/json"]["schema"]
                assert answer == {"$ref": "#/components/schemas/ErrorsBody"}, where
            assert (401 in errors) == ("security" in operation or path == "/api/users/login"), where
            assert (429 in errors) == (method != "get"), where
            assert ({408, 413} <= errors) == ("requestBody" in operation), where
            assert 503 in errors, where
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_operations_have_unique_ids_and_a_summary(described: dict[str, Any]) -> None:
    operations = [operation for item in described["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == len(ROUTES)
    assert all(operation["description"] for operation in operations)


def test_swagger_ui_works_without_a_network(deployment: Deployment) -> None:
    with httpx.Client(base_url=deployment.base_url) as http:
        page = http.get("/docs")
        assert page.status_code == 200
        files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(files) >= 3
        for file in files:
            assert file.startswith("/docs/files/"), file
            assert http.get(file).status_code == 200
        assert "url: '/openapi.json'" in page.text
        assert http.get("/openapi.json").json() == http.get("/api/openapi.json").json()


def test_responses_other_than_json_are_described_as_such(described: dict[str, Any]) -> None:
    operation = described["paths"]["/api/articles/{slug}/cover"]["put"]
    assert operation["requestBody"]["required"] is True
    assert set(operation["requestBody"]["content"]) == {*(f"image/{kind.lower()}" for kind in FORMATS), ANY_BYTES}
    for path, kind in (("/media/{name}", "image/webp"), ("/api/user/reports/{report_id}/audience.csv", "text/csv")):
        assert set(described["paths"][path]["get"]["responses"]["200"]["content"]) == {kind}


def test_the_realworld_api_is_complete_with_our_additions(described: dict[str, Any]) -> None:
    paths = {re.sub(r"{\w+}", "{}", path): set(item) for path, item in described["paths"].items()}
    assert paths == {
        "/api/users/login": {"post"},
        "/api/users": {"post"},
        "/api/user": {"get", "put"},
        "/api/profiles/{}": {"get"},
        "/api/profiles/{}/follow": {"post", "delete"},
        "/api/articles/feed": {"get"},
        "/api/articles": {"get", "post"},
        "/api/articles/{}": {"get", "put", "delete"},
        "/api/articles/{}/comments": {"get", "post"},
        "/api/articles/{}/comments/{}": {"delete"},
        "/api/articles/{}/favorite": {"post", "delete"},
        "/api/tags": {"get"},
    } | {
        "/api/articles/{}/cover": {"put", "delete"},
        "/api/user/reports": {"post"},
        "/api/user/reports/{}": {"get"},
        "/api/user/reports/{}/audience.csv": {"get"},
        "/media/{}": {"get"},
    }
