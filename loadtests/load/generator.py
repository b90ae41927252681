"""The load generator: a process that runs trials on request, in JSON lines on stdin and stdout.

In:   {"trial": {"mix": "browse", "seed": 1, "warmup": 5, "profile": [[20, 300], [10, 600]], "without": []}}
      one or more stretches of [seconds, requests/s] that follow each other without a pause, after a warm-up
      at the first one's rate. ``without`` names parts of the mix that are not sent; the others arrive as they
      would with them, so the rate stays that of the whole mix. ``"strangers": true`` opens a connection for each
      request, as people do who never came before; else arrivals share connections that are kept.
      {"warm": {"seconds": 60, "targets": ["http://app1:8000"]}} reads what the stage may cache, from these apps, as
      loadtests/load/warming.py has it.
      {"caches": {"cache": "redis://cache:6379/0"}} asks each how full it is, as loadtests/load/caches.py has it.
Out:  {"ready": …} once, {"warmed": …} and {"caches": …} where asked for; then for each trial {"window": "start"} and
      {"window": "end"} as they happen, {"progress": …} each second and {"result": …}; {"error": {"kind", "text"}}
      before it gives up. The result's ``seconds_by_route`` and ``beats`` are rows for each second, to be kept apart
      (loadtests/raw.py).
It ends by itself when stdin does, so that it never outlives the one who drives it.
"""

import argparse
import gc
import json
import os
import socket
import sys
from urllib.parse import urlsplit, urlunsplit

from locust.env import Environment

from loadtests.load import caches, dataset, mixes, warming
from loadtests.load.lines import lines, say
from loadtests.load.sender import Sender
from loadtests.load.site_assets import SiteError
from loadtests.load.trial import Trial
from loadtests.load.usage import cpu_quota


def resolved(target: str) -> str:
    """The target with its name looked up once, so that no arrival waits for a name server."""
    parts = urlsplit(target)
    address = socket.gethostbyname(parts.hostname or "")
    return urlunsplit((parts.scheme, f"{address}:{parts.port or 80}", "", "", ""))


def main(arguments: list[str] | None = None) -> int:
    """Serve trials until stdin ends. Returns the exit code: 0, or 3 after an ``error`` line."""
    parser = argparse.ArgumentParser(description="Runs load trials, driven by JSON lines.")
    parser.add_argument("--target", required=True, help="where the load goes, as http://box:8000")
    parser.add_argument("--database", action="append", help="as 0-63=postgresql://…; default: DATABASE_URL")
    options = parser.parse_args(arguments)
    databases = options.database or os.environ.get("DATABASE_URL", "").split()
    try:
        data = dataset.read(dataset.parse_databases(databases))
        target = resolved(options.target)
    except dataset.EmptyDatasetError as error:
        say(error={"kind": "empty", "text": f"{error}; load the dataset first: make stageN seed"})
        return 3
    except dataset.DatabaseUnreachableError as error:
        say(error={"kind": "database", "text": str(error)})
        return 3
    except OSError as error:
        say(error={"kind": "target", "text": f"{options.target} cannot be found: {error}"})
        return 3
    serve(data, target)
    return 0


def serve(data: dataset.Dataset, target: str) -> None:
    """Trials, one line each, against a target whose dataset has been read."""
    sender = Sender(Environment(), target)
    quota = cpu_quota()
    # The dataset is for ever; the collector need not walk it again and again while latencies are taken.
    gc.collect()
    gc.freeze()
    found = {"dataset": data.counts, "seeded": data.seeded, "articles_sampled": len(data.articles)}
    say(ready=found | {"cpu": quota, "pid": os.getpid()})
    for line in lines():
        try:
            asked = json.loads(line)
            if "warm" in asked:
                apps = [Sender(Environment(), resolved(target)) for target in asked["warm"]["targets"]]
                say(warmed=warming.warm(apps, data, float(asked["warm"]["seconds"])))
                continue
            if "caches" in asked:
                say(caches=caches.held(asked["caches"]))
                continue
            trial = Trial(sender, data, asked["trial"], quota)
        except SiteError as error:
            say(error={"kind": "site", "text": f"{error}; the mix needs the app's pages, is the stage's app current?"})
            continue
        except (ValueError, KeyError, TypeError, mixes.UnknownMixError) as error:
            say(error={"kind": "request", "text": f"not a trial: {error}"})
            continue
        say(result=trial.run())


if __name__ == "__main__":
    sys.exit(main())
