"""The process that observes, driven by JSON lines on stdin and stdout.

In:   {"watch": {"app": 1234}}                  the boxes and their first processes, as Docker's machine numbers them
      {"read": true}                            their counters, now {"programs": true}                        CPU
      seconds so far of each box, by program {"metrics": {"app": "http://app:9100/"}}  the apps' own counters, over
      the network: not while something is measured
Out:  {"ready": …} once, {"watching": [names]}, {"moment": …}, {"programs": …}, {"metrics": …}, each once asked for;
      {"second": …}, a moment, each second from the first "watch" on; {"error": "…"} for what cannot be answered.
It ends by itself when stdin does.
"""

import json
import queue
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtests.observe import cgroups, host, metrics, programs
from loadtests.observe.readings import Moment

PROC = Path("/proc")
TREE = Path("/host/cgroup")
INTERVAL = 1.0


class Watch:
    """The boxes that are watched."""

    def __init__(self, pids: dict[str, int], proc: Path = PROC, tree: Path = TREE) -> None:
        """Raises GoneError."""
        self._proc = proc
        self._groups = {name: cgroups.find(pid, proc, tree) for name, pid in pids.items()}

    def moment(self, whole: bool) -> Moment:
        """All counters, now. Raises GoneError for a box that is gone, where ``whole``; else it is left out."""
        boxes = {}
        for name, group in self._groups.items():
            try:
                boxes[name] = group.read()
            except (OSError, ValueError, KeyError) as error:
                if whole:
                    raise cgroups.GoneError(f"the box {name} cannot be read; did it stop? ({error})") from error
        return Moment(time.monotonic(), boxes, host.read(self._proc))

    def programs(self) -> dict[str, dict[str, float]]:
        """CPU seconds so far of each box, by program."""
        found = {}
        for name, group in self._groups.items():
            try:
                found[name] = programs.group_programs(programs.stats(group.pids(), self._proc))
            except (OSError, ValueError):
                found[name] = {}
        return found


def say(**message: Any) -> None:
    """One line to whoever drives."""
    print(json.dumps(message), flush=True)


def main(proc: Path = PROC, tree: Path = TREE) -> None:
    """Answer until stdin ends."""
    lines: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        lines.put("")

    threading.Thread(target=listen, daemon=True).start()
    say(ready=host.described(proc))
    watch, due = Watch({}, proc, tree), float("inf")
    while True:
        try:
            line = lines.get(timeout=max(0.0, due - time.monotonic()) if due < float("inf") else None)
        except queue.Empty:
            # What was late is not made up for: the next second is a second later.
            due = max(due + INTERVAL, time.monotonic())
            say(second=asdict(watch.moment(whole=False)))
            continue
        if not line:
            return
        try:
            asked = json.loads(line)
            if "watch" in asked:
                watch, due = Watch(asked["watch"], proc, tree), time.monotonic() + INTERVAL
                say(watching=list(asked["watch"]))
            elif "read" in asked:
                say(moment=asdict(watch.moment(whole=True)))
            elif "programs" in asked:
                say(programs=watch.programs())
            else:
                say(metrics=metrics.fetch(asked["metrics"]))
        except cgroups.GoneError as error:
            say(error=str(error))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            say(error=f"not understood: {error}")


if __name__ == "__main__":
    main()
