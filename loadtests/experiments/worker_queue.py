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
from loadtests.experiments.scene import CannotError, Scene
from loadtests.experiments.verdict import Verdict

BROKER_EVERY = 5
"""Of the faults, every fifth is the broker's."""
RUNS_WITHIN = 70.0
"""Docker waits longer and longer, up to a minute, before it starts a box again that dies soon."""
SETTLES_WITHIN = 240.0
BETWEEN_LOOKS = 0.2
# What follows from one request of a kind: the route, and the task that its answer promises. Mail is sent in chunks, and
# each but the first follows from the one before.
PROMISES = {
    "PUT /api/articles/{slug}/cover": "cover",
    "POST /api/articles": "mail_followers",
    "POST /api/user/reports": "audience_report",
}
_TASKS = """
SELECT name, state, count(*), count(*) FILTER (WHERE attempts > 1),
       count(DISTINCT CASE name WHEN 'mail_followers' THEN arguments ->> 'article_id' ELSE key END)
FROM outbox WHERE created_at >= to_timestamp({since}) GROUP BY name, state
"""
# What a worker is killed at, by the number of the turn: mail is what somebody could get twice, a cover is what takes
# long. The broker's turns count, so that the kills after them, which find the worker up for longest, alternate too.
AT_RISK = ("mail_followers", "cover")
KINDS = {"cover": "covers", "mail_followers": "mailings", "audience_report": "reports"}
_AT_WORK = "SELECT name, key, attempts FROM outbox WHERE state = 'running' AND worker = '{box}'"
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
    at_work: Counter[str] = Counter()
    left: set[tuple[str, ...]] = set()
    with scene.load(plan.mix, [(plan.seconds, plan.rate)], 0.0) as load:
        for turn in range(plan.times):
            load.until(plan.before + turn * plan.during)
            if turn % BROKER_EVERY == BROKER_EVERY - 1:
                harm.restart(broker, seconds=5)
                load.note("broker restarted")
            else:
                worker = workers[turn % len(workers)]
                at_work.update(_kill(scene, worker, AT_RISK[turn % len(AT_RISK)], plan.during / 2, left))
                load.note(f"{worker.name} killed")
    scene.keep(load, at_work=dict(at_work))
    began = time.monotonic()
    tasks = _settled(scene, since)
    took = round(time.monotonic() - began, 1)
    unfinished = int(ask(scene, _UNFINISHED.format(since=since))[0][0])
    after = _mail(scene)
    mail = {name: after[name] - mailed[name] for name in ("received", "duplicates")} | {"twice": _twice(scene)}
    scene.also(tasks=tasks, mail=mail, unfinished=unfinished, settled_after=took)
    faults = Counter(event["what"].split()[-1] for event in load.events)
    faults.update({f"killed while at {KINDS[name]}": count for name, count in at_work.items()})
    return judge(_answered(load.result["routes"]), tasks, mail, unfinished, faults, mail_at_risk=plan.mode == "full")


def _kill(scene: Scene, worker: Box, name: str, patience: float, left: set[tuple[str, ...]]) -> list[str]:
    """Kill a worker at a task of that name, or after ``patience`` seconds at whatever it is at; the names of that.

    It is frozen for each look, since mail is sent in less time than a kill takes; while it comes up it is let be.
    ``left`` are the tries that earlier kills ended, whose rows say "running" until then; this kill's are added. Raises
    CannotError.
    """
    box = worker.container.attrs["Config"]["Hostname"]
    began = time.monotonic()
    while time.monotonic() < began + patience and not harm.healthy(worker):
        time.sleep(BETWEEN_LOOKS)
    while True:
        try:
            with harm.frozen(worker):
                at = {tuple(row) for row in ask(scene, _AT_WORK.format(box=box))} - left
                if any(row[0] == name for row in at) or time.monotonic() > began + patience:
                    harm.kill(worker)
                    left |= at
                    return [row[0] for row in at]
        except CannotError:
            # It may have to come up from the last time first.
            if time.monotonic() > began + RUNS_WITHIN:
                raise
        time.sleep(BETWEEN_LOOKS)


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
    *,
    mail_at_risk: bool = True,
) -> Verdict:
    """``answered`` requests that promise a task, by its name; ``tasks`` by name and state; ``unfinished`` covers and
    reports that are not ready; ``faults`` by kind; ``mail_at_risk`` whether there were kills enough to hit mail too.

    Held where each promise is a task that is done, none is left or dead, and nobody got a message twice. Where mail was
    at risk and none was tried again, that says nothing, and there is no verdict. Answers that were lost on their way
    may have left more tasks than were promised.
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
    retried = Counter(dict.fromkeys(KINDS.values(), 0))
    for task in tasks:
        retried[KINDS.get(task["name"], task["name"])] += task["retried"]
    facts = [
        ("faults", ", ".join(f"{count} times {what}" for what, count in faults.items()) or "none"),
        ("requests answered that promise a task", str(sum(answered.values()))),
        ("tasks accepted", str(accepted)),
        ("done", str(done)),
        ("begun more than once", ", ".join(f"{kind}: {count}" for kind, count in retried.items())),
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
        "retried": dict(retried),
        "unfinished": unfinished,
    }
    killed, restarted = faults.get("killed", 0), faults.get("restarted", 0)
    sentence = (
        f"Workers killed {killed} times and the broker started anew {restarted} times: "
        f"{accepted} tasks accepted, {done} done, {lost} lost, {left - by_state['dead']} still under way, "
        f"{mail['twice']} done twice in effect. "
        f"Tried again: {retried['covers']} covers and {retried['mailings'] or 'no'} mailings"
        + ("." if retried["mailings"] else ", so that it was not seen whether one that is gets to anybody twice.")
    )
    if not accepted:
        return Verdict(None, "No verdict: nothing was asked of the queue.", facts, figures)
    if lost or left or unfinished or mail["twice"]:
        return Verdict(False, sentence, facts, figures)
    if mail_at_risk and not retried["mailings"]:
        return Verdict(None, f"No verdict on mail. {sentence}", facts, figures)
    return Verdict(True, sentence, facts, figures)
