"""Stage 5's shards: their replicas take over, and what lives on one goes on without the other."""

import re
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import httpx
import pytest

from conduit_testing.client import Api, Person
from tests.running import Stage, Stages, run
from tests.stages.at_a_stage import HEALS_WITHIN_SECONDS, is_well, seconds_until

pytestmark = [pytest.mark.stage(5), pytest.mark.docker]

# By command nobody waits for the lease of 20 s to expire.
TAKEN_OVER_WITHIN_SECONDS = 12
# etcd's answers are waited for 5 s; longer than that, a primary has to know by itself that it may go on.
WITHOUT_ETCD_SECONDS = 15
# Asynchronous replication: what was acknowledged so shortly before the primary died may be lost.
SURELY_REPLICATED_SECONDS = 1.0


@pytest.fixture(scope="module")
def stage(stages: Stages) -> Stage:
    return stages.bring_up(5)[0]


@pytest.fixture
def api(stage: Stage) -> Iterator[Api]:
    with httpx.Client(base_url=stage.url, timeout=10) as http:
        yield Api(http)


def _roles(stage: Stage) -> dict[str, str]:
    """Each node's role, by what status says."""
    return dict(re.findall(r"^  (shard\d[ab]): (primary|replica), ", stage.make("status"), re.MULTILINE))


def _primary(stage: Stage, shard: str) -> str:
    (name,) = (name for name, role in _roles(stage).items() if role == "primary" and name.startswith(shard))
    return name


class Commenting:
    """Somebody who comments on an article all the time; when each comment was acknowledged, by its text."""

    def __init__(self, author: Person, slug: str) -> None:
        self._author, self._slug = author, slug
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.acknowledged: dict[str, float] = {}
        self.unexpected: list[str] = []

    def __enter__(self) -> "Commenting":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self.unexpected == []

    def _write(self) -> None:
        number = 0
        while not self._stop.wait(0.1):
            number += 1
            text = f"comment {number}"
            try:
                said = self._author.post(f"/articles/{self._slug}/comments", {"comment": {"body": text}})
            except httpx.TransportError:
                continue
            if said.status_code == 201:
                self.acknowledged[text] = time.monotonic()
            elif said.status_code != 503:
                self.unexpected.append(said.text)

    def longest_pause(self) -> float:
        times = sorted(self.acknowledged.values())
        return max(after - before for before, after in pairwise(times))


def _there(author: Person, slug: str) -> set[str]:
    found: set[str] = set()
    before = 2**53 - 1
    while page := author.get(f"/articles/{slug}/comments", before=before).raise_for_status().json()["comments"]:
        found |= {comment["body"] for comment in page}
        before = page[-1]["id"]
    return found


def test_status_tells_the_map_and_who_is_who(stage: Stage) -> None:
    said = stage.make("status")
    assert re.search(r"^shard1: logical shards 0-31$", said, re.MULTILINE)
    assert re.search(r"^shard2: logical shards 32-63$", said, re.MULTILINE)
    roles = _roles(stage)
    assert sorted(roles) == ["shard1a", "shard1b", "shard2a", "shard2b"]
    assert sorted(roles.values()) == ["primary", "primary", "replica", "replica"]
    replica = r"^  shard\d[ab]: replica, streaming, timeline \d+, \d+\.\d MB behind$"
    assert len(re.findall(replica, said, re.MULTILINE)) == 2
    assert len(re.findall(r"^  slot shard\d[ab]: in use, ", said, re.MULTILINE)) == 2


def test_rows_are_on_their_shards_servers_and_names_in_the_directory(stage: Stage, api: Api) -> None:
    counts = {}
    for shards in (range(32), range(32, 64)):
        api.author_on(shards)
    for name in ("directory", _primary(stage, "shard1"), _primary(stage, "shard2")):
        sql = "SELECT count(*), coalesce(min((id >> 6) & 63), -1), coalesce(max((id >> 6) & 63), -1) FROM users"
        psql = ["psql", "-h", "127.0.0.1", "-U", "conduit", "-d", "conduit", "-XqAtc", sql]
        counts[name[:6]] = tuple(map(int, stage.compose("exec", "-T", name, *psql).split("|")))
    assert counts["direct"] == (0, -1, -1)
    assert counts["shard1"][0] > 0
    assert 0 <= counts["shard1"][1] <= counts["shard1"][2] <= 31
    assert counts["shard2"][0] > 0
    assert 32 <= counts["shard2"][1] <= counts["shard2"][2] <= 63


@pytest.mark.parametrize("verb", ["switchover", "failover"])
def test_the_replica_takes_over_and_the_old_primary_follows_it(stage: Stage, api: Api, verb: str) -> None:
    author, slug = api.author_on(range(32))
    before = _roles(stage)
    primary = _primary(stage, "shard1")
    with Commenting(author, slug) as commenting:
        time.sleep(3)
        began = time.monotonic()
        said = stage.make(verb, "SHARD=shard1")
        time.sleep(3)
    assert f"shard1: {primary} is its replica" in said
    assert "could not be deleted" not in said
    after = _roles(stage)
    swapped = {"primary": "replica", "replica": "primary"}
    assert after == {name: swapped[role] if name.startswith("shard1") else role for name, role in before.items()}
    assert max(commenting.acknowledged.values()) > began + 2, "nobody can write"
    assert commenting.longest_pause() < TAKEN_OVER_WITHIN_SECONDS
    safe = time.monotonic() if verb == "switchover" else began - SURELY_REPLICATED_SECONDS
    lost = {text for text, when in commenting.acknowledged.items() if when < safe} - _there(author, slug)
    assert lost == set()
    seconds_until(lambda: is_well(stage, primary), HEALS_WITHIN_SECONDS, "healthy again")


@pytest.mark.long
def test_while_etcd_is_away_primaries_go_on(stage: Stage, api: Api) -> None:
    author, slug = api.author_on(range(32))
    stage.compose("stop", "--timeout", "5", "etcd")
    try:
        with Commenting(author, slug) as commenting:
            time.sleep(WITHOUT_ETCD_SECONDS)
            said = stage.make("status")
            began = time.monotonic()
            time.sleep(3)
    finally:
        stage.compose("start", "etcd")
    assert re.search(r"^etcd does not answer: ", said, re.MULTILINE)
    assert re.search(r"^  shard1[ab]: primary, running, ", said, re.MULTILINE)
    assert max(commenting.acknowledged.values()) > began
    assert commenting.longest_pause() < WITHOUT_ETCD_SECONDS / 2
    seconds_until(lambda: is_well(stage, "etcd"), HEALS_WITHIN_SECONDS, "healthy again")


@pytest.mark.long
def test_a_replica_that_lost_its_data_is_built_anew(stage: Stage, api: Api) -> None:
    (replica,) = (name for name, role in _roles(stage).items() if role == "replica" and name.startswith("shard1"))
    volume = f"conduit-test-stage5_{replica}"
    stage.compose("rm", "--force", "--stop", replica)
    run(["docker", "volume", "rm", volume], stage.folder)
    stage.make("up")
    seconds_until(lambda: _roles(stage).get(replica) == "replica", HEALS_WITHIN_SECONDS, "a replica again")
    count = "SELECT count(*) FROM users"
    psql = ["psql", "-h", "127.0.0.1", "-U", "conduit", "-d", "conduit", "-XqAtc", count]
    primary = _primary(stage, "shard1")
    expected = stage.compose("exec", "-T", primary, *psql)
    seconds_until(lambda: stage.compose("exec", "-T", replica, *psql) == expected, HEALS_WITHIN_SECONDS, "the same")


def test_without_one_shard_the_other_one_goes_on(stage: Stage, api: Api) -> None:
    (author, slug), (lost_author, lost_slug) = (api.author_on(shards) for shards in (range(32), range(32, 64)))
    nodes = [name for name in _roles(stage) if name.startswith("shard2")]
    stage.compose("stop", "--timeout", "10", *nodes)
    try:
        comment = {"comment": {"body": "Still here."}}
        assert author.post(f"/articles/{slug}/comments", comment).status_code == 201
        refused = author.post(f"/articles/{lost_slug}/comments", comment)
        assert refused.status_code == 503, refused.text
        assert int(refused.headers["retry-after"]) > 0
        listed = lost_author.get("/articles", limit=100, before=2**53 - 1)
        slugs = [article["slug"] for article in listed.raise_for_status().json()["articles"]]
        assert slug in slugs
        assert lost_slug not in slugs
        assert listed.headers.get_list("x-partial", split_commas=True) == ["shard2"]
        assert stage.get("/ready").status_code == 200
        # One that starts meanwhile has nobody there to ask, and does without.
        stage.compose("restart", "--timeout", "20", "app1")
        seconds_until(lambda: is_well(stage, "app1"), HEALS_WITHIN_SECONDS, "started again")
    finally:
        stage.compose("start", *nodes)
    seconds_until(
        lambda: lost_author.get(f"/articles/{lost_slug}/comments").status_code == 200
        and lost_author.post(f"/articles/{lost_slug}/comments", comment).status_code == 201,
        2 * HEALS_WITHIN_SECONDS,
        "answering again",
    )
    for node in nodes:
        seconds_until(lambda node=node: is_well(stage, node), HEALS_WITHIN_SECONDS, "healthy again")  # type: ignore[misc]
