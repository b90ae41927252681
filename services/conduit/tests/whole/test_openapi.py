"""The OpenAPI description is true: whatever it allows is answered as it says, and with no failure.

In this process, or by a running stage (--stage-url), whose boxes are small: there with fewer examples.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from conduit.main import ENDPOINTS
from conduit.routing import Endpoint
from conduit_testing.client import Api, Person
from conduit_testing.deployments import Deployment, NewDatabase, deployed_on_one_server
from conduit_testing.pictures import FORMATS, upload

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


# What is sent as an image is one, or else any bytes.
for kind in FORMATS:
    images = st.sampled_from([upload(kind), upload(kind, 7, 9), upload(kind)[:-9]])
    schemathesis.openapi.media_type(f"image/{kind.lower()}", images | st.binary(max_size=200))


@pytest.fixture(scope="module")
def schema(deployment: Deployment) -> Any:
    return schemathesis.openapi.from_url(f"{deployment.base_url}/api/openapi.json")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as allowed", "otherwise"])
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_any_request_is_answered_as_described(
    endpoint: Endpoint, mode: GenerationMode, schema: Any, jo: Person, examples: int
) -> None:
    operation = schema[endpoint.path][endpoint.method]
    if mode is GenerationMode.NEGATIVE and not (endpoint.takes or endpoint.parameters):
        mode = GenerationMode.POSITIVE  # any text is allowed there
    slug = jo.slug()
    make: dict[str, Callable[[], str | int]] = {
        "slug": lambda: slug,
        "comment_id": lambda: jo.comment(slug)["id"],
        "username": lambda: jo.username,
        "report_id": lambda: jo.report()["id"],
        "name": lambda: jo.cover(slug, upload())["small"].rpartition("/")[2],
    }
    there = {name: make[name]() for name in re.findall(r"{(\w+)}", endpoint.path)}
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
        # At random, next to no request would be about an article or a user that is there.
        if about_what_is_there:
            case.path_parameters = {name: there[name] for name in case.path_parameters or {}}
        # An edge answers nobody in particular by itself where it can.
        headers = {} if nobody and not endpoint.signed_in else {"Authorization": f"Token {jo.token}"}
        case.call_and_validate(checks=CHECKS, headers=headers)

    ask()


@pytest.fixture(scope="module")
def described(deployment: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{deployment.base_url}/api/openapi.json").json()
    return found


def test_every_route_is_described_and_says_who_may_call_it(described: dict[str, Any]) -> None:
    operations = {
        (method.upper(), path): operation
        for path, item in described["paths"].items()
        for method, operation in item.items()
    }
    assert set(operations) == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    for endpoint in ENDPOINTS:
        operation = operations[endpoint.method, endpoint.path]
        assert ({} in operation["security"]) == (not endpoint.signed_in)
        assert str(endpoint.status) in operation["responses"]
        named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", endpoint.path))
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)


def test_bytes_that_are_no_json_are_described_as_such(described: dict[str, Any]) -> None:
    operation = described["paths"]["/api/articles/{slug}/cover"]["put"]
    assert operation["requestBody"]["required"] is True
    assert set(operation["requestBody"]["content"]) == {*(f"image/{kind.lower()}" for kind in FORMATS), ANY_BYTES}
    for path, kind in (("/media/{name}", "image/webp"), ("/api/user/reports/{report_id}/audience.csv", "text/csv")):
        assert set(described["paths"][path]["get"]["responses"]["200"]["content"]) == {kind}


def test_the_realworld_api_is_all_there_with_what_is_added(described: dict[str, Any]) -> None:
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
