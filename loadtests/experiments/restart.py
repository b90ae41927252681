"""The app is deployed under load: a rolling restart, which is to fail nobody's request."""

from collections.abc import Sequence

from loadtests.experiments.plan import Plan
from loadtests.experiments.scene import Scene
from loadtests.experiments.verdict import Failures, Verdict, failures, limits


def run(scene: Scene, plan: Plan) -> Verdict:
    """Restart all app boxes by the stage's own command, while people use the site."""
    scene.apps()
    with scene.load(plan.mix, [(plan.seconds, plan.rate)], plan.warmup) as load:
        load.until(plan.before)
        began = load.note("rolling restart")
        status, said = scene.command("rolling-restart")
        ended = load.note("all restarted")
    scene.keep(load, restart={"seconds": round(ended - began, 1), "status": status, "said": said})
    return judge(
        failures(load.result["routes"]),
        ended - began,
        ok=not status,
        in_load=ended <= plan.seconds,
        limited=limits(load.result, plan.rate),
    )


def judge(found: Failures, seconds: float, *, ok: bool, in_load: bool, limited: Sequence[str]) -> Verdict:
    """Held where no request at all failed."""
    facts = [*found.facts(), ("the restart took", f"{seconds:.0f} s")]
    figures = {"failed": found.failed, "requests": found.idempotent + found.others, "seconds": round(seconds, 1)}
    if not ok:
        return Verdict(False, "The rolling restart itself failed; what it said is in the record.", facts, figures)
    if not in_load and not found.failed:
        return Verdict(None, "No verdict: the load ended before the restart did.", facts, figures)
    if found.failed and limited:
        return Verdict(None, f"No verdict: {', '.join(limited)}.", facts, figures)
    sentence = (
        f"All app boxes restarted one after another in {seconds:.0f} s: {found.failed} of "
        f"{found.idempotent + found.others} requests failed."
    )
    return Verdict(not found.failed, sentence, facts, figures)
