"""A hot key expires while hundreds ask for it: how many of them reach the database, with single flight and without.

The requests go to the app boxes themselves: the balancer would refuse most of them, to spare the boxes. For the same
reason the boxes are started with room for all of them (MAX_IN_FLIGHT, MAX_WAIT).
"""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from infra.stage.shell import answer, compose
from loadtests.ceiling.boxes import Boxes
from loadtests.ceiling.record import ROOT
from loadtests.experiments.plan import Plan
from loadtests.experiments.scene import CannotError, Scene
from loadtests.experiments.verdict import Verdict
from loadtests.observe.observer import Observer

AT_ONCE = 500
# CACHE_URL's in the compose file.
CACHE = "redis://cache:6379/0"
ROOM = {"MAX_IN_FLIGHT": "600", "MAX_WAIT": "30"}
LIST = "/api/articles?limit=20&offset=0"
WITH, WITHOUT = "with single flight", "without"
_LATE = re.compile(r'^conduit_cache_reads_total\{.*result="away".*\} (\S+)$', re.MULTILINE)
_SETTINGS = {WITH: {"CACHE_SINGLE_FLIGHT": "1"}, WITHOUT: {"CACHE_SINGLE_FLIGHT": "0"}}


def run(scene: Scene, plan: Plan) -> Verdict:
    """For each setting: what one fill of each key asks of the database, then the same with all requests under way."""
    apps = [box.service for box in scene.apps()]
    scene.service("cache")
    bursts: list[dict[str, Any]] = []
    try:
        for setting in (WITH, WITHOUT):
            _recreate(scene, apps, ROOM | _SETTINGS[setting])
            scene.say(f"{AT_ONCE} requests at once for a key that is gone, {setting}")
            with _Sender(scene, apps) as sender:
                for turn in range(plan.times):
                    for what, path in (("list", LIST), ("article", _article(scene))):
                        bursts.append({"setting": setting, "what": what, "turn": turn} | _one(scene, sender, path))
    finally:
        _recreate(scene, apps, {})
    scene.run.data["bursts"] = bursts
    return judge(bursts)


def _one(scene: Scene, sender: "_Sender", path: str) -> dict[str, Any]:
    found: dict[str, Any] = {"path": path}
    # A box that has just been started makes connections and compiles statements first.
    sender.send(path, 4)
    for name, count in (("one", 1), ("burst", AT_ONCE)):
        before = _late(scene.observer)
        found[name] = sender.send(path, count, flush=CACHE)
        found[name]["late"] = _late(scene.observer) - before
    return found


def _late(observer: Observer) -> float:
    """The apps' reads so far for which the cache was late."""
    return sum(float(value) for _, text in observer.metrics().values() for value in _LATE.findall(text))


def _article(scene: Scene) -> str:
    """The path of an article that is there."""
    said = answer(["curl", "-fsS", "-m", "10", f"{scene.stage.url}{LIST}"]).stdout
    try:
        return f"/api/articles/{json.loads(said)['articles'][0]['slug']}"
    except (ValueError, LookupError) as error:
        raise CannotError(f"The stage shows no articles: {said[:200] or 'it does not answer'}") from error


def _recreate(scene: Scene, apps: Sequence[str], settings: Mapping[str, str]) -> None:
    """Start the app boxes anew with settings that the stage's file does not have, by a file laid over it."""
    more = ROOT / ".stages" / "experiment.yml"
    more.parent.mkdir(exist_ok=True)
    more.write_text(json.dumps({"services": {app: {"environment": dict(settings)} for app in apps}}))
    up = ["up", "--detach", "--no-deps", "--no-build", "--wait", "--wait-timeout", "55", *apps]
    base = compose(scene.stage.number)
    try:
        done = answer([*base, *(["-f", str(more.relative_to(ROOT))] if settings else []), *up])
    finally:
        more.unlink()
    if done.returncode:
        raise CannotError(f"The app boxes could not be started anew: {done.stderr.strip()[-500:]}")
    scene.boxes = Boxes(scene.stage.project)
    scene.observer.watch(scene.boxes.pids(), scene.boxes.metrics_urls())


class _Sender:
    """The process on the stage's network that sends."""

    def __init__(self, scene: Scene, apps: Sequence[str]) -> None:
        targets = [word for app in apps for word in ("--target", f"http://{app}:8000")]
        command = ["run", "--rm", "-T", "--no-deps", "tools", "python", "-m", "loadtests.experiments.burst", *targets]
        self._process = subprocess.Popen(
            compose(scene.stage.number, *command),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> "_Sender":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None, "opened as a pipe"
        self._process.stdin.close()
        self._process.wait(timeout=20)

    def send(self, path: str, count: int, flush: str = "") -> dict[str, Any]:
        """What came of a burst, before which the cache at ``flush`` is emptied, if given. Raises CannotError."""
        assert self._process.stdin is not None, "opened as a pipe"
        assert self._process.stdout is not None, "opened as a pipe"
        try:
            self._process.stdin.write(json.dumps({"path": path, "count": count, "flush": flush}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise CannotError("The process that sends has ended.") from error
        for said in self._process.stdout:
            message = json.loads(said) if said.startswith("{") else {}
            if "error" in message:
                raise CannotError(f"The requests could not be sent: {message['error']}")
            if "result" in message:
                result: dict[str, Any] = message["result"]
                return result
        raise CannotError("The process that sends has ended.")


def judge(bursts: Sequence[Mapping[str, Any]]) -> Verdict:
    """Held where with single flight all requests were answered, and no key was filled more than once.

    A fill is what one request alone asks of the database for that key. Of several bursts the one that speaks least for
    single flight counts: with it the most queries, without it the fewest.
    """
    facts: list[tuple[str, str]] = []
    fills: dict[str, dict[str, float]] = {WITH: {}, WITHOUT: {}}
    unanswered = 0
    for what in dict.fromkeys(burst["what"] for burst in bursts):
        for (setting, found), worst in zip(fills.items(), (max, min), strict=True):
            mine = [burst for burst in bursts if (burst["what"], burst["setting"]) == (what, setting)]
            if not mine:
                continue
            counted = worst(mine, key=_fills)
            found[what] = _fills(counted)
            asked, alone = (counted[which]["queries"] for which in ("burst", "one"))
            facts.append((f"{what}, {setting}: queries", f"{asked:.0f}, where one request alone makes {alone:.0f}"))
            last = max(burst["burst"]["last_ms"] for burst in mine)
            flying = min(burst["burst"]["most_in_flight"] for burst in mine)
            facts.append((f"{what}, {setting}: under way, last answer", f"{flying}, {last:.0f} ms"))
            unanswered += sum(
                count for burst in mine for status, count in burst["burst"]["statuses"].items() if status != "200"
            )
    facts.append(("not answered with 200", str(unanswered)))
    # For whom the cache is late, the database is asked: why a key was filled again, and no excuse.
    late = sum(burst["burst"].get("late", 0.0) for burst in bursts if burst["setting"] == WITH)
    facts.append(("with single flight: reads without the cache", f"{late:.0f} requests"))
    held = not unanswered and bool(fills[WITH]) and all(times <= 1 for times in fills[WITH].values())
    told = "; ".join(
        f"{what}: filled at most {times:.3g} times with single flight, "
        f"at least {fills[WITHOUT].get(what, 0):.3g} without"
        for what, times in fills[WITH].items()
    )
    sentence = f"A hot key gone with {AT_ONCE} requests under way: {told}; {unanswered} were not answered."
    return Verdict(held, sentence, facts, {"fills": fills, "unanswered": unanswered})


def _fills(burst: Mapping[str, Any]) -> float:
    """How often a burst filled its key, by what one request of the same turn asked of the database."""
    alone = burst["one"]["queries"]
    return float(burst["burst"]["queries"] / alone) if alone else float("inf")
