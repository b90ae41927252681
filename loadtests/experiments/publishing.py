"""How long publishing with a cover takes: until the API has answered, and until the cover is there to be seen."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loadtests import machines
from loadtests.ceiling.record import RUNS
from loadtests.experiments.plan import Plan
from loadtests.experiments.rows import ask
from loadtests.experiments.scene import Load, Scene
from loadtests.experiments.verdict import Verdict, limits
from loadtests.load.summary import percentile
from loadtests.report.words import about, ms

JOURNEY = "publishing with a cover"
# All that the mix has beside it.
OTHERS = ("api", "report")
SETTLES_WITHIN = 120.0
AT_LEAST_TIMES = 5.0
"""Lower than at the stage before, where somebody else makes the covers."""
# Of those asked for since a time: how far they are, and the seconds from the asking until they were done.
_COVERS = """
SELECT state, extract(epoch FROM coalesce(finished_at, now()) - created_at)::float8
FROM outbox WHERE name = 'cover' AND created_at >= to_timestamp({since})
"""


def run(scene: Scene, plan: Plan) -> Verdict:
    """Publish with covers, and nothing else, at the rate at which the mix would have them."""
    with scene.load(plan.mix, [(plan.during, plan.rate)], plan.warmup, without=OTHERS) as load:
        load.until(plan.during)
    scene.keep(load)
    queued = bool(scene.queued())
    covers = _settled(scene, load) if queued else []
    scene.also(covers=covers)
    before = _newest(scene.run.data, RUNS.glob(f"*-stage{scene.stage.number - 1}-experiment-publishing"))
    found = load.result["journeys"].get(JOURNEY, {"count": 0, "failed": 0, "waits_ms": []})
    return judge(found, covers if queued else None, before, limits(load.result, plan.rate), scene.stage.number)


def _settled(scene: Scene, load: Load) -> list[dict[str, Any]]:
    """The covers that were asked for, once no more of them is waiting."""
    deadline = time.monotonic() + SETTLES_WITHIN
    while True:
        rows = ask(scene, _COVERS.format(since=load.began))
        covers = [{"state": state, "seconds": round(float(seconds), 3)} for state, seconds in rows]
        if time.monotonic() > deadline or all(cover["state"] in ("done", "dead") for cover in covers):
            return covers
        time.sleep(1)


def _newest(run: Mapping[str, Any], folders: Iterable[Any]) -> float | None:
    """The p95 in ms of the newest run of the stage before that held, of the same load, dataset, boxes and machine."""
    for folder in sorted(folders, reverse=True):
        try:
            other = json.loads((folder / "run.json").read_text())
        except (OSError, ValueError):
            continue
        if not other.get("complete") or other["verdict"]["held"] is not True:
            continue
        if _asked(other) != _asked(run) or machines.differences(other, run):
            continue
        if (p95 := other["verdict"]["figures"].get("p95")) is not None:
            return float(p95)
    return None


def _asked(run: Mapping[str, Any]) -> dict[str, Any]:
    sizes = {(box["cpus"], box["period_us"], box["memory"]) for box in run["boxes"]}
    return {
        "settings": run["settings"],
        "sizes": sorted(sizes),
        # Not of its articles, of which each run publishes more.
        "users": about(run["dataset"]["users"]),
    }


def judge(
    found: Mapping[str, Any],
    covers: Sequence[Mapping[str, Any]] | None,
    before: float | None,
    limited: Sequence[str],
    stage: int,
) -> Verdict:
    """``found`` is the journey; ``covers`` those that a worker made, None where the request did; ``before`` the p95 in
    ms of the stage before.

    Held where none failed, none is left undone and, where a worker makes them, the p95 is so much lower than before.
    """
    p95 = percentile(found["waits_ms"], 0.95)
    facts = [
        ("published with a cover", str(found["count"])),
        ("failed", str(found["failed"])),
        ("until the API had answered: p50, p95", f"{ms(percentile(found['waits_ms'], 0.5))}, {ms(p95)} ms"),
    ]
    figures: dict[str, Any] = {"count": found["count"], "failed": found["failed"], "p95": p95}
    undone = 0
    sentence = f"Publishing with a cover is answered within {ms(p95)} ms (p95 of {found['count']})"
    if covers is not None:
        waits = sorted(1000 * cover["seconds"] for cover in covers if cover["state"] == "done")
        # One that was promised and has no row is not made either.
        undone = max(len(covers), found["count"] - found["failed"]) - len(waits)
        figures |= {"ready_p95": percentile(waits, 0.95), "undone": undone}
        shown = f"{ms(percentile(waits, 0.5))}, {ms(percentile(waits, 0.95))} ms"
        facts.append(("from then on until the cover was there: p50, p95", shown))
        facts.append(("covers never made", str(undone)))
        sentence += f"; the cover is there {ms(percentile(waits, 0.95))} ms later (p95)"
    if covers is not None and before is not None and p95:
        figures["times_lower"] = round(before / p95, 1)
        facts.append(("at the stage before, p95", f"{ms(before)} ms"))
        sentence += f"; at the stage before it was {ms(before)} ms, {before / p95:.1f} times that"
    if not found["count"]:
        return Verdict(None, "No verdict: nobody published with a cover; take longer or a higher RATE.", facts, figures)
    if found["failed"] or undone:
        sentence += f". {found['failed']} failed, and {undone} covers were never made."
        return Verdict(False, sentence, facts, figures)
    if limited:
        return Verdict(None, f"No verdict: {', '.join(limited)}.", facts, figures)
    if covers is not None and before is None:
        sentence += ". No verdict without the stage before; measure it first: "
        return Verdict(None, f"{sentence}make stage{stage - 1} experiment WHAT=publishing", facts, figures)
    low_enough = covers is None or not p95 or (before or 0) / p95 >= AT_LEAST_TIMES
    return Verdict(low_enough, f"{sentence}.", facts, figures)
