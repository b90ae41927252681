"""Nobody ever gets another's answer, however requests with and without a token come after and beside each other."""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.edge.conftest import Edge
from tests.edge.origin import Answer, Asked, Origin

pytestmark = pytest.mark.docker

READERS = 24
REQUESTS = 120


def _whose(asked: Asked) -> Answer:
    """Says who asked for what, and takes a little while at times, so that requests overtake each other."""
    if hash((asked.path, asked.token)) % 7 == 0:
        time.sleep(0.01)
    return Answer(json.dumps({"path": asked.path, "viewer": asked.token, "body": asked.body.decode()}))


def test_interleaved_readers_get_their_own(edge: Edge, origin: Origin, word: str) -> None:
    origin.answer = _whose
    paths = [
        "/api/articles/x-7", "/api/articles/y-7/comments", "/api/articles?limit=5", f"/api/articles?tag={word}",
        "/api/user", f"/api/profiles/{word}", "/api/articles/feed",
    ]  # fmt: skip

    def reader(number: int) -> list[str]:
        """What was wrong for somebody who signs in and out as they go, over connections that are kept."""
        rng = random.Random(number)
        wrong = []
        with httpx.Client(base_url=edge.url, timeout=15) as client:
            for turn in range(REQUESTS):
                token = rng.choice((None, f"Token reader-{number}", f"Token reader-{number}-{turn}"))
                method = rng.choice(("GET", "GET", "GET", "POST", "HEAD"))
                sent = f"by {number} at {turn}" if method == "POST" else ""
                headers = {"Authorization": token} if token else {}
                path = rng.choice(paths)
                answer = client.request(method, path, headers=headers, content=sent)
                if method == "HEAD":
                    continue
                got = answer.json()
                if (got["viewer"], got["body"]) != (token, sent):
                    wrong.append(f"{method} {path} by {token}: {got}")
                if token and answer.headers["x-cache"] != "BYPASS":
                    wrong.append(f"{method} {path} by {token} was {answer.headers['x-cache']}")
        return wrong

    with ThreadPoolExecutor(READERS) as pool:
        assert [wrong for each in pool.map(reader, range(READERS)) for wrong in each] == []
    kept = [asked for asked in origin.asked if asked.token is None and asked.method == "GET"]
    assert 0 < len(kept) < READERS * REQUESTS / 8, "anonymous reads were hardly answered from what is kept"
