"""The cache is gone for a while: the app goes on from the database, and takes the cache back by itself."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from loadtests.experiments import harm
from loadtests.experiments.plan import Plan
from loadtests.experiments.scene import Load, Scene
from loadtests.experiments.verdict import Verdict, limits
from loadtests.report.words import ms, percent

PHASES = ("before", "without the cache", "after")
AT_LAST_SECONDS = 3.0
"""What the apps count from the first hit on is of a few seconds at least."""


def run(scene: Scene, plan: Plan) -> Verdict:
    """Stop the cache's box under load, start it, and see when it is used again."""
    box = scene.service("cache")
    stretches = [(plan.before, plan.rate), (plan.during, plan.rate), (plan.after, plan.rate)]
    with scene.load(plan.mix, stretches, plan.warmup) as load:
        load.count()
        load.until(plan.before)
        load.count()
        harm.stop(box)
        load.note("cache stopped")
        load.until(plan.before + plan.during)
        load.count()
        harm.start(box)
        started = load.note("cache started")
        back = _seconds_until_hit(load, started, plan.seconds - 1 - AT_LAST_SECONDS)
        load.until(plan.seconds - 1)
        load.count()
    scene.keep(load, hits_after=back)
    return judge(load.result["stretches"], load.counted, back, limits(load.result, plan.rate))


def _seconds_until_hit(load: Load, started: float, give_up: float) -> float | None:
    """Seconds until an app counted a hit again, though it costs the apps CPU to be asked.

    To Redis, the marks that its scripts look up and the counters of limits are hits too, also where no value is kept.
    """
    while load.t < give_up:
        load.count()
        if load.counted[-1].get("hits", 0.0) > 0:
            return round(load.t - started, 1)
        time.sleep(0.5)
    return None


def judge(
    stretches: Sequence[Mapping[str, Any]],
    counted: Sequence[Mapping[str, float]],
    hits_after: float | None,
    limited: Sequence[str],
) -> Verdict:
    """Held where nobody got an error, and the apps counted hits again, and still did as the load ended.

    ``stretches`` are of the load before, without the cache and after; ``counted`` what the apps counted a second in
    those; the last is from the first hit after its start on.
    """
    errors = [sum(one["errors"].values()) for one in stretches]
    waits = [one["p95"] for one in stretches]
    facts: list[tuple[str, str]] = [
        (f"{name}: failed, p95", f"{failed} of {one['sent']}, {ms(wait)} ms")
        for name, failed, wait, one in zip(PHASES, errors, waits, stretches, strict=True)
    ]
    spans = [counted[0], counted[1], counted[-1]] if len(counted) >= len(PHASES) else []
    for name, span, one in zip(PHASES, spans, stretches, strict=False):
        a_request = span.get("queries", 0.0) / one["completed_rate"] if one["completed_rate"] else None
        hits, misses = span.get("hits", 0.0), span.get("misses", 0.0)
        # Whoever asks a cache that is away misses; the few seconds around its end would say otherwise.
        ratio = percent(hits / (hits + misses)) if hits + misses and span is not spans[1] else "none"
        if a_request is not None:
            facts.append((f"{name}: queries a request, hits", f"{a_request:.2f}, {ratio}"))
    facts.append(("hits again after", f"{hits_after:.1f} s" if hits_after is not None else "not before the load ended"))
    hits_at_last = counted[-1].get("hits") if counted else None
    figures = {"errors": errors, "p95": waits, "hits_after": hits_after, "hits_at_last": hits_at_last}
    if sum(errors) and limited:
        return Verdict(None, f"No verdict: {', '.join(limited)}.", facts, figures)
    if hits_after is not None and hits_at_last is None:
        return Verdict(None, "No verdict: the apps' metrics could not be read as the load ended.", facts, figures)
    seconds = stretches[1]["sent"] / stretches[1]["offered_rate"] if stretches[1]["offered_rate"] else 0.0
    if hits_after is None:
        used = "it was not used again."
    else:
        used = f"hits again {hits_after:.1f} s after it was back{'.' if hits_at_last else ', and none from then on.'}"
    sentence = (
        f"The cache gone for {seconds:.0f} s: {sum(errors)} requests failed; p95 {ms(waits[0])} ms before, "
        f"{ms(waits[1])} ms without it, {ms(waits[2])} ms after; {used}"
    )
    held = not sum(errors) and hits_after is not None and bool(hits_at_last)
    return Verdict(held, sentence, facts, figures)
