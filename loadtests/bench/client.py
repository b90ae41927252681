"""Measures requests per CPU-second of the app and of its floor, interleaved, from the stage's own network.

A closed loop of a few keep-alive connections asks one route of one target for some seconds; the target's CPU time
is read from its own process before and after (``process_cpu_seconds_total``). Closed, because what is asked for is
a cost, not a latency: the rate finds its own level.

Run in the tools' container by ``python -m loadtests.bench``; prints one JSON object a sample.
"""

import argparse
import json
import os
import re
import time
from typing import NamedTuple
from urllib.parse import quote

import gevent
import gevent.socket
import psycopg
from geventhttpclient import HTTPClient

from conduit.tokens import Tokens

CONNECTIONS = 4
_CPU = re.compile(rb"^process_cpu_seconds_total (\S+)$", re.MULTILINE)
_QUERIES = re.compile(r'desc="(\d+) queries"')


class Case(NamedTuple):
    """One route, as one kind of reader asks for it."""

    name: str
    paths: list[str]
    headers: dict[str, str]


def cases(database_url: str) -> list[Case]:
    """The hot reads: many articles, and readers who follow as many as the seed's average reader does."""
    with psycopg.connect(database_url) as database:
        slugs = [row[0] for row in database.execute("SELECT slug FROM articles ORDER BY id DESC LIMIT 500")]
        reader = database.execute(
            "SELECT follower_id FROM follows GROUP BY 1 HAVING count(*) BETWEEN 8 AND 30 ORDER BY 1 LIMIT 1"
        ).fetchone()
    if not slugs or reader is None:
        raise SystemExit("the stage has no data to read; load it first: make stage2 seed SIZE=medium")
    tokens = Tokens(os.environ["JWT_SECRET"], hours=24)
    signed = {"Authorization": f"Token {tokens.issue(reader[0])}"}
    articles = [f"/api/articles/{quote(slug)}" for slug in slugs]
    return [
        Case("article, anonymous", articles, {}),
        Case("article, signed in", articles, signed),
        Case("list of 20, anonymous", ["/api/articles"], {}),
        Case("list of 20, signed in", ["/api/articles"], signed),
        Case("feed", ["/api/articles/feed"], signed),
    ]


def cpu_seconds(host: str) -> float:
    """The CPU time that the target's process has used since its start, user and system together."""
    client = HTTPClient(host, 9100, connection_timeout=10, network_timeout=10)
    try:
        found = _CPU.search(client.get("/metrics").read())
    finally:
        client.close()
    if found is None:
        raise SystemExit(f"{host} does not report its CPU time")
    return float(found[1])


def wait_for(host: str, seconds: float = 60.0) -> None:
    """Return when the target takes connections. Raises SystemExit."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            gevent.socket.create_connection((host, 8000), timeout=2).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"{host} does not answer: {error}; see docker logs {host}") from error
            gevent.sleep(0.5)
        else:
            return


def require_same_answers(hosts: list[str], wanted: list[Case]) -> None:
    """Raise SystemExit where targets answer the same request with other bytes: then their costs are not comparable."""
    for case in wanted:
        answers = {}
        for host in hosts:
            client = HTTPClient(host, 8000, connection_timeout=10, network_timeout=10)
            answer = client.get(case.paths[0], headers=case.headers)
            answers[host] = (answer.status_code, bytes(answer.read()))
            client.close()
        if len(set(answers.values())) != 1:
            raise SystemExit(f"{case.name}: the answers differ: {answers}")


def sample(host: str, case: Case, seconds: float) -> dict[str, object]:
    """Requests, CPU seconds and their quotient for one case at one target."""
    stop_at = 0.0
    done = failed = queries = 0

    def ask(start: int) -> None:
        nonlocal done, failed, queries
        client = HTTPClient(host, 8000, concurrency=1, connection_timeout=10, network_timeout=10)
        position = start
        while time.perf_counter() < stop_at:
            answer = client.get(case.paths[position % len(case.paths)], headers=case.headers)
            answer.read()
            position += CONNECTIONS
            done += 1
            failed += answer.status_code != 200
            found = _QUERIES.search(str(answer.get("server-timing") or ""))
            queries = int(found[1]) if found else 0
        client.close()

    before = cpu_seconds(host)
    stop_at = time.perf_counter() + seconds
    gevent.joinall([gevent.spawn(ask, start) for start in range(CONNECTIONS)], raise_error=True)
    used = cpu_seconds(host) - before
    return {
        "target": host,
        "case": case.name,
        "requests": done,
        "failed": failed,
        "cpu_seconds": round(used, 3),
        "per_cpu_second": round(done / used, 1) if used else None,
        "queries": queries,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--targets", nargs="+", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--database", required=True)
    options = parser.parse_args()
    wanted = cases(options.database)
    for host in options.targets:
        wait_for(host)
    require_same_answers(options.targets, wanted)
    for host in options.targets:  # unmeasured: connections, prepared statements and caches are made here
        for case in wanted:
            sample(host, case, 1.0)
    for number in range(options.rounds):
        for case in wanted:
            # The order turns with the round, so that neither target always comes after the other.
            targets = options.targets if number % 2 == 0 else options.targets[::-1]
            for host in targets:
                print(json.dumps({"round": number, **sample(host, case, options.seconds)}), flush=True)


if __name__ == "__main__":
    main()
