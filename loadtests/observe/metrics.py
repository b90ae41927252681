"""The apps' own counters, asked for over the stage's network, as Prometheus would; and what they count a second."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import TypeVar
from urllib.request import urlopen

TIME_OUT = 10.0
Name = TypeVar("Name")


def fetch(urls: Mapping[str, str]) -> dict[str, tuple[float, str]]:
    """The machine's monotonic clock and the metrics, of each box that tells some; they cost its app the rendering."""
    if not urls:
        return {}
    with ThreadPoolExecutor(len(urls)) as pool:
        found = dict(zip(urls, pool.map(_one, urls.values()), strict=True))
    return {box: (at, text) for box, (at, text) in found.items() if text}


def _one(url: str) -> tuple[float, str]:
    at = time.monotonic()
    try:
        with urlopen(url, timeout=TIME_OUT) as answer:  # noqa: S310 - a box's, on the stage's network
            return at, answer.read().decode(errors="replace")
    except (OSError, HTTPException):
        return at, ""


def rates(
    before: Mapping[str, tuple[float, Mapping[Name, float]]], after: Mapping[str, tuple[float, Mapping[Name, float]]]
) -> dict[Name, float]:
    """What all apps together counted a second between two readings of theirs; empty where none was read twice.

    Each reading is a time in seconds and the counts so far. A counter that went back was begun anew.
    """
    found: dict[Name, float] = {}
    for app in before.keys() & after.keys():
        (since, was), (until, now) = before[app], after[app]
        for name, value in now.items():
            grown = value - was.get(name, 0.0)
            found[name] = found.get(name, 0.0) + (grown if grown >= 0 else value) / (until - since)
    return found
