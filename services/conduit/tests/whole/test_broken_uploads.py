"""Broken images sent to the app: each becomes a cover or is refused in time, and the next request is served."""

import time
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from prometheus_client import REGISTRY

from conduit_testing.broken_pictures import broken, checksums_mended
from conduit_testing.client import Api, Person, errors
from conduit_testing.deployments import Deployment, NewDatabase, deployed_on_one_server
from conduit_testing.pictures import upload

EXAMPLES = 150
SECONDS = 3.0


@pytest.fixture(scope="module")
def deployment(new_database: NewDatabase) -> Iterator[Deployment]:
    with deployed_on_one_server(new_database) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def jo(deployment: Deployment) -> Iterator[Person]:
    with httpx.Client(base_url=deployment.base_url, timeout=20) as http:
        yield Api(http).sign_up()


def test_a_broken_upload_becomes_a_cover_or_is_refused_with_a_reason(deployment: Deployment, jo: Person) -> None:
    slug = jo.slug()
    shown = jo.upload(slug, upload()).json()["article"]["cover"]
    told: set[int] = set()

    @given(content=broken())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(content: bytes) -> None:
        nonlocal shown
        for sent in (content, checksums_mended(content)):
            started = time.monotonic()
            response = jo.upload(slug, sent)
            assert time.monotonic() - started < SECONDS
            told.add(response.status_code)
            if response.status_code == 200:
                shown = response.json()["article"]["cover"]
                assert shown["state"] == "ready"
            else:
                assert response.status_code == 422
                assert list(errors(response)) == ["cover"]
            assert jo.article(slug)["cover"] == shown

    send()
    assert told == {200, 422}
    assert jo.http.get(shown["large"]).status_code == 200
    assert jo.upload(slug, upload("JPEG")).status_code == 200
    assert deployment.media_dir is not None
    assert list((deployment.media_dir / "private/uploads").iterdir()) == []
    assert not any(path.name.startswith(".") for path in deployment.media_dir.rglob("*"))


def test_uploads_whose_damage_only_decoding_finds_are_counted(jo: Person) -> None:
    failures = REGISTRY.get_sample_value("conduit_task_failures_total", {"task": "image"}) or 0.0
    content = upload("WEBP", 64, 64)
    assert jo.upload(jo.slug(), content[:40] + bytes(255 - byte for byte in content[40:])).status_code == 422
    assert REGISTRY.get_sample_value("conduit_task_failures_total", {"task": "image"}) == failures + 1
