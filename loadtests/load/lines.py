"""The lines of JSON on stdin and stdout by which the load generator is driven."""

import json
import os
import sys
from collections.abc import Iterator

import gevent
from gevent.fileobject import FileObject
from gevent.queue import Queue


def say(**message: object) -> None:
    """One line to whoever drives."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def lines() -> Iterator[bytes]:
    """Lines of stdin. When it ends, so does this process, in the middle of a trial, too.

    Nobody is listening.
    """
    read: Queue[bytes] = Queue()

    def reading() -> None:
        for line in FileObject(sys.stdin.buffer, "rb"):
            read.put(line)
        os._exit(0)

    gevent.spawn(reading)
    while True:
        yield read.get()
