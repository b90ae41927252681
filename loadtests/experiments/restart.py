"""The app is deployed under load: a rolling restart, which is to fail nobody's request."""

from collections.abc import Sequence
from typing import Any

from loadtests.experiments.plan import Plan
from loadtests.experiments.scene import Scene
from loadtests.experiments.verdict import Failures, Verdict, failures, limits, times


def run(scene: Scene, plan: Plan) -> Verdict:
    """Restart all app boxes by the stage's own command, while people use the site, as often as there is time for it."""
    scene.apps()
    restarts: list[dict[str, Any]] = []
    with scene.load(plan.mix, [(plan.seconds, plan.rate)], plan.warmup) as load:
        load.until(plan.before)
        while True:
            began = load.note("rolling restart")
            status, said = scene.command("rolling-restart")
            ended = load.note("all restarted")
            restarts.append({"seconds": round(ended - began, 1), "status": status, "said": said})
            if status or ended + (ended - began) > plan.before + plan.during:
                break
    scene.keep(load, restarts=restarts)
    return judge(
        failures(load.result["routes"]),
        [restart["seconds"] for restart in restarts],
        ok=not status,
        in_load=ended <= plan.seconds,
        limited=limits(load.result, plan.rate),
    )


def judge(found: Failures, took: Sequence[float], *, ok: bool, in_load: bool, limited: Sequence[str]) -> Verdict:
    """Held where no request at all failed. ``took`` is the seconds of each restart of all boxes."""
    facts = [*found.facts(), ("each restart of all boxes took", times(took))]
    figures = {"failed": found.failed, "requests": found.idempotent + found.others, "took": list(took)}
    if not ok:
        return Verdict(False, "The rolling restart itself failed; what it said is in the record.", facts, figures)
    if not in_load and not found.failed:
        return Verdict(None, "No verdict: the load ended before the restart did.", facts, figures)
    if found.failed and limited:
        return Verdict(None, f"No verdict: {', '.join(limited)}.", facts, figures)
    how_often = "once" if len(took) == 1 else f"{len(took)} times"
    sentence = (
        f"All app boxes restarted one after another, {how_often}, in {times(took)}: {found.failed} of "
        f"{found.idempotent + found.others} requests failed."
    )
    return Verdict(not found.failed, sentence, facts, figures)
