"""Workers die and the broker is started anew while people publish: nothing that was accepted is lost or done twice."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from loadtests.ceiling.boxes import Box
from loadtests.experiments import harm
from loadtests.experiments.plan import Plan
from loadtests.experiments.rows import ask
from loadtests.experiments.scene import CannotError, Load, Scene
from loadtests.experiments.verdict import Verdict

BROKER_EVERY = 5
"""Of the faults, every fifth is the broker's."""
RUNS_WITHIN = 70.0
"""Docker waits longer and longer, up to a minute, before it starts a box again that dies soon."""
SETTLES_WITHIN = 240.0
# What follows from one request of a kind: the route, and the task that its answer promises. Mail is sent in chunks, and
# each but the first follows from the one before.
PROMISES = {
    "PUT /api/articles/{slug}/cover": "cover",
    "POST /api/articles": "mail_followers",
    "POST /api/user/reports": "audience_report",
}
_TASKS = """
SELECT name, state, count(*), count(*) FILTER (WHERE tries > 1),
       count(DISTINCT CASE name WHEN 'mail_followers' THEN arguments ->> 'article_id' ELSE key END)
FROM tasks WHERE noted_at >= to_timestamp({since}) GROUP BY name, state
"""
_AT_WORK = "SELECT count(*) FROM tasks WHERE state = 'running' AND name = 'cover'"
_UNFINISHED = """
SELECT (SELECT count(*) FROM articles WHERE cover_state <> 'ready' AND updated_at >= to_timestamp({since}))
     + (SELECT count(*) FROM reports WHERE state <> 'ready' AND created_at >= to_timestamp({since}))
"""
SETTLED = ("done", "dead")


def run(scene: Scene, plan: Plan) -> Verdict:
    """Kill workers, and start the broker anew, in turns; then wait until nothing of what was asked for is under way."""
    workers, broker = scene.queued(), scene.service("broker")
    if not workers:
        raise CannotError("This needs a queue and its workers, which stage 4 brings: make stage4 experiment WHAT=queue")
    mailed = _mail(scene)
    since = time.time()
    at_work = 0
    with scene.load(plan.mix, [(plan.seconds, plan.rate)], 0.0) as load:
        for turn in range(plan.times):
            load.until(plan.before + turn * plan.during)
            if turn % BROKER_EVERY == BROKER_EVERY - 1:
                harm.restart(broker, seconds=5)
                load.note("broker restarted")
            else:
                worker = workers[turn % len(workers)]
                at_work += _at_work(scene, load, load.t + plan.during / 2)
                _kill(worker)
                load.note(f"{worker.name} killed")
    began = time.monotonic()
    tasks = _settled(scene, since)
    took = round(time.monotonic() - began, 1)
    unfinished = int(ask(scene, _UNFINISHED.format(since=since))[0][0])
    after = _mail(scene)
    mail = {name: after[name] - mailed[name] for name in ("received", "duplicates")} | {"twice": _twice(scene)}
    scene.keep(load, tasks=tasks, mail=mail, unfinished=unfinished, settled_after=took, at_work=at_work)
    faults = Counter(event["what"].split()[-1] for event in load.events)
    faults["killed while a cover was made"] = at_work
    return judge(_answered(load.result["routes"]), tasks, mail, unfinished, faults)


def _at_work(scene: Scene, load: Load, until: float) -> bool:
    """Wait until a cover is being made, which takes a while, but not beyond a second of the load; whether one is."""
    while load.t < until:
        if ask(scene, _AT_WORK)[0] != ["0"]:
            return True
        time.sleep(0.1)
    return False


def _kill(worker: Box) -> None:
    """Kill a worker, which may have to come up from the last time first."""
    deadline = time.monotonic() + RUNS_WITHIN
    while True:
        try:
            harm.kill(worker)
        except CannotError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _settled(scene: Scene, since: float) -> list[dict[str, Any]]:
    """The tasks that were noted since a time, by name and state, once none is under way or the patience ends."""
    deadline = time.monotonic() + SETTLES_WITHIN
    while True:
        tasks = [
            {"name": name, "state": state, "count": int(count), "retried": int(retried), "distinct": int(distinct)}
            for name, state, count, retried, distinct in ask(scene, _TASKS.format(since=since))
        ]
        if time.monotonic() > deadline or all(task["state"] in SETTLED for task in tasks):
            return tasks
        time.sleep(1)


def _answered(routes: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """How many requests were answered that promise a task, by the task's name."""
    return {
        task: found["sent"] - sum(found["errors"].values())
        for route, task in PROMISES.items()
        if (found := routes.get(route))
    }


def _mail(scene: Scene, before: int | None = None) -> dict[str, Any]:
    """What the mail server says: its counts, and its newest messages, or those older than a number."""
    page = next(iter(scene.stage.page_urls.values()))
    older = "" if before is None else f"?before={before}"
    try:
        with urlopen(f"{page}/api/messages{older}", timeout=10) as answer:  # noqa: S310 - http, on this machine
            said: dict[str, Any] = json.load(answer)
    except (URLError, OSError, ValueError) as error:
        raise CannotError(f"The mail server does not answer: {error}") from error
    return said


def _twice(scene: Scene) -> int:
    """Messages of which somebody has more than one, of those that the server still keeps."""
    seen: Counter[tuple[str, str]] = Counter()
    before: int | None = None
    while messages := _mail(scene, before)["messages"]:
        seen.update((" ".join(message["to"]), message["text"]) for message in messages)
        before = messages[-1]["number"]
    return sum(count - 1 for count in seen.values())


def judge(
    answered: Mapping[str, int],
    tasks: Sequence[Mapping[str, Any]],
    mail: Mapping[str, int],
    unfinished: int,
    faults: Mapping[str, int],
) -> Verdict:
    """``answered`` requests that promise a task, by its name; ``tasks`` by name and state; ``unfinished`` covers and
    reports that are not ready; ``faults`` by kind.

    Held where each promise is a task that is done, none is left or dead, and nobody got a message twice. Answers that
    were lost on their way may have left more tasks than were promised.
    """
    by_state: Counter[str] = Counter()
    noted: Counter[str] = Counter()
    for task in tasks:
        by_state[task["state"]] += task["count"]
        noted[task["name"]] += task["distinct"]
    never_noted = sum(max(0, count - noted[name]) for name, count in answered.items())
    accepted, done = sum(by_state.values()), by_state["done"]
    left = accepted - done
    lost = never_noted + by_state["dead"]
    retried = sum(task["retried"] for task in tasks)
    facts = [
        ("faults", ", ".join(f"{count} times {what}" for what, count in faults.items()) or "none"),
        ("requests answered that promise a task", str(sum(answered.values()))),
        ("tasks accepted", str(accepted)),
        ("done", str(done)),
        ("begun more than once", str(retried)),
        ("not done yet", str(left - by_state["dead"])),
        ("dead", str(by_state["dead"])),
        ("promised and never noted", str(never_noted)),
        ("covers and reports that are not ready", str(unfinished)),
        ("messages that the mail server got, and had seen", f"{mail['received']}, {mail['duplicates']} of them"),
        ("messages that somebody has twice", str(mail["twice"])),
    ]
    figures = {
        "accepted": accepted,
        "done": done,
        "lost": lost,
        "left": left - by_state["dead"],
        "twice": mail["twice"],
        "retried": retried,
        "unfinished": unfinished,
    }
    killed, restarted = faults.get("killed", 0), faults.get("restarted", 0)
    sentence = (
        f"Workers killed {killed} times and the broker started anew {restarted} times: "
        f"{accepted} tasks accepted, {done} done, {lost} lost, {left - by_state['dead']} still under way, "
        f"{mail['twice']} done twice in effect."
    )
    if not accepted:
        return Verdict(None, "No verdict: nothing was asked of the queue.", facts, figures)
    held = not lost and not left and not unfinished and not mail["twice"]
    return Verdict(held, sentence, facts, figures)
