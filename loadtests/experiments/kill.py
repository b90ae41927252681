"""An app box dies under load: its process is killed, and Docker starts it again."""

from collections.abc import Sequence
from typing import Any

from loadtests.experiments import harm
from loadtests.experiments.plan import Plan
from loadtests.experiments.scene import Scene
from loadtests.experiments.verdict import Failures, Verdict, failures, limits, times

BACK_WITHIN = 10.0
"""Seconds from its death until it has traffic again."""
_WELL = range(200, 500)


def run(scene: Scene, plan: Plan) -> Verdict:
    """Kill one app box after another, each when the one before has had time to come back."""
    apps = scene.apps()
    kills: list[dict[str, Any]] = []
    with scene.load(plan.mix, [(plan.seconds, plan.rate)], plan.warmup) as load:
        for turn in range(plan.times):
            load.until(plan.before + turn * plan.during)
            box = apps[turn % len(apps)]
            at = harm.kill(box)
            load.note(f"{box.name} killed")
            kills.append({"box": box.name, "address": _address(box.container), "at": at})
    requests = scene.requests(load)
    for kill in kills:
        kill["back_after"] = back_after(requests, kill["address"], kill["at"])
    retried = sum("," in entry.get("upstream", "") for entry in requests)
    scene.keep(load, kills=kills, retried=retried)
    return judge(
        failures(load.result["routes"]),
        [kill["back_after"] for kill in kills],
        retried,
        limits(load.result, plan.rate),
    )


def back_after(requests: Sequence[dict[str, Any]], address: str, killed: float) -> float | None:
    """Seconds until a box answered a request that had begun after it died; None where it did not."""
    answers = [
        entry["time"] - killed
        for entry in requests
        if entry["time"] - float(entry.get("seconds", 0)) > killed and _answered_by(entry) == address
    ]
    return round(min(answers), 2) if answers else None


def _answered_by(entry: dict[str, Any]) -> str:
    """The box whose answer went out, of those that were asked one after another; empty where none was good."""
    asked = str(entry.get("upstream", "")).replace(" : ", ", ").split(", ")
    return asked[-1].split(":")[0] if entry["status"] in _WELL else ""


def _address(container: Any) -> str:
    """Where the balancer asks it: it may be on other networks, too."""
    networks: dict[str, Any] = container.attrs["NetworkSettings"]["Networks"]
    return str(next(network["IPAddress"] for name, network in networks.items() if name.endswith("_app")))


def judge(found: Failures, back: Sequence[float | None], retried: int, limited: Sequence[str]) -> Verdict:
    """Held where no idempotent request failed, and each box had traffic again in time."""
    came = [one for one in back if one is not None]
    in_time = [one for one in came if one <= BACK_WITHIN]
    held = not found.idempotent_failed and len(in_time) == len(back)
    if found.idempotent_failed and limited:
        return Verdict(None, f"No verdict: {', '.join(limited)}.", found.facts())
    how_often = "once" if len(back) == 1 else f"{len(back)} times"
    sentence = (
        f"An app box killed {how_often}: {found.idempotent_failed} of {found.idempotent} idempotent requests failed, "
        f"{found.others_failed} of {found.others} others; traffic again after {times(came)}"
        + ("" if len(came) == len(back) else f", and {len(back) - len(came)} times not before the load ended")
        + "."
    )
    facts = [
        *found.facts(),
        ("requests sent to another box once more", str(retried)),
        ("traffic again after", times(came)),
        ("in time", f"{len(in_time)} of {len(back)} within {BACK_WITHIN:.0f} s"),
    ]
    return Verdict(
        held,
        sentence,
        facts,
        {
            "idempotent_failed": found.idempotent_failed,
            "others_failed": found.others_failed,
            "retried": retried,
            "back_after": list(back),
        },
    )
