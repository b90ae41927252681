"""Where the edge keeps answers, and that it has room for the next."""

import base64
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.edge.conftest import Edge, docker, ids
from tests.edge.origin import Answer, Asked, Origin

pytestmark = pytest.mark.docker


def kept_in(edge: Edge, folder: str, key: str) -> int:
    """How many answers are kept there whose key ends like this."""
    return int(docker("exec", edge.container, "sh", "-c", f"grep -rla 'KEY: .*{key}$' {folder} | wc -l"))


@pytest.mark.parametrize(
    ("path", "key", "folder"),
    [
        ("/api/articles/x-{}", "/api/articles/{}", "/memory"),
        ("/api/articles?tag={}", "tag={} /api/articles", "/memory"),
        ("/editor/{}", "/editor/any", "/memory"),
        ("/media/{}.webp", "/media/{}.webp", "/data"),
    ],
)
@pytest.mark.usefixtures("origin")
def test_only_files_that_never_change_are_on_the_disk(
    edge: Edge, article: int, path: str, key: str, folder: str
) -> None:
    """A disk makes NGINX wait when an answer takes the place of an older one, and with it all readers."""
    assert "X-Length" not in edge.get(path.format(article)).headers
    found = {place: kept_in(edge, place, key.format(article)) for place in ("/memory", "/data")}
    assert found == {"/memory": 0, "/data": 0} | {folder: 1}


@pytest.mark.parametrize(("length", "kept"), [(59_999, 1), (60_000, 0)])
def test_what_is_long_is_not_kept(edge: Edge, origin: Origin, article: int, length: int, kept: int) -> None:
    origin.answer = lambda _: Answer("x" * length)
    assert len(edge.get(f"/api/articles/{article}").text) == length
    assert kept_in(edge, "/memory", f"/api/articles/{article}") == kept


@pytest.mark.parametrize(("size", "times"), [(700_000, 200), (44_000, 2_800)])
def test_more_than_the_memory_holds_cuts_no_answer_short(edge: Edge, origin: Origin, size: int, times: int) -> None:
    """Those of 60 kB and more are not kept; the others make room for each other."""
    noise = base64.b64encode(random.Random(size).randbytes(size)).decode()

    def long(asked: Asked) -> Answer:
        return Answer(asked.path + noise)

    origin.answer = long
    paths = [f"/api/articles/{next(ids)}" for _ in range(times)]

    def is_whole(path: str) -> bool:
        response = edge.get(path, Accept_Encoding="gzip")
        return response.status_code == 200 and response.text == path + noise

    with ThreadPoolExecutor(16) as readers:
        assert list(readers.map(is_whole, paths)).count(False) == 0
    found = docker("exec", edge.container, "find", "/memory", "-type", "f", "-printf", "%s ")
    kept = sum(int(size) for size in found.split())
    assert kept > 20e6 if size < 45_000 else kept < 1e6
