"""A run in words: the verdict in a sentence, what to know before believing it, the figures in short."""

from collections.abc import Callable, Mapping
from typing import Any

NONE = "–"
NO_VERDICT = "no verdict"
# What is proposed where the machine was the limit: half of the usual size.
SMALL_BOX_CPUS = 0.125
LEAST_RATE = 0.05  # less is shown as 0.0


def rate(value: float | None) -> str:
    """Requests/s, to three figures or so."""
    if value is None:
        return NONE
    return f"{value:.1f}" if value < 20 else f"{value:,.0f}".replace(",", " ")


def ms(value: float | None) -> str:
    """Milliseconds, whole from ten on."""
    if value is None:
        return NONE
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}".replace(",", " ")


def percent(value: float | None) -> str:
    """A share of 0 to 1 as per cent; small ones with as many places as they need not to read as none."""
    if value is None:
        return NONE
    if value == 0:
        return "0 %"
    return f"{value * 100:.0f} %" if value >= 0.0995 else f"{value * 100:.2g} %"


def programs(box: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Those of a box that cost a request 0.005 ms or more, if there are several; older records have none."""
    found = {name: one for name, one in (box.get("programs") or {}).items() if one["per_request_ms"] >= 0.005}
    return found if len(found) > 1 else {}


def about(users: int) -> str:
    """How many, to two digits: who tries a stage signs up."""
    return f"{users:.2g}"


def kept(overload: Mapping[str, Any]) -> str:
    """What is left of the goodput, and at what load where it is not three times the ceiling; graceful or cliff."""
    if overload["verdict"] == NO_VERDICT:
        return NO_VERDICT
    at = "" if _at(overload) == 3 else f" at {_at(overload):g} ×"
    return f"{percent(overload['kept'])}{at}, {overload['verdict']}"


def _at(overload: Mapping[str, Any]) -> float:
    at: float = overload.get("kept_at", 3.0)  # older records have none
    return at


def recovered(overload: Mapping[str, Any], never: str) -> str:
    """Seconds until the stage was well again after an overload, or ``never``."""
    if overload.get("recovery_limits"):  # older records have none
        return NO_VERDICT
    seconds = overload["recovery_seconds"]
    return f"{seconds:.0f} s" if seconds is not None else never


def time(text: str) -> str:
    """A record's time for people, UTC."""
    return text.replace("T", " ").replace("Z", " UTC")


def size(value: float | None) -> str:
    """Bytes in MB or GB (powers of 1024, as the memory limits are set)."""
    if not value:
        return NONE
    return f"{value / 2**30:.1f} GB" if value >= 2**30 else f"{value / 2**20:.0f} MB"


def whole(number: float) -> str:
    """A count, its thousands apart."""
    return f"{number:,.0f}".replace(",", " ")


def duration(seconds: float) -> str:
    """Seconds, or minutes, hours or days from two of them on; whole ones that have passed."""
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{int(seconds // unit)} {name}"
    return f"{int(seconds)} s"


def machine(found: dict[str, Any]) -> list[str]:
    """What figures depend on: cores, memory, processor."""
    return [f"{found.get('cores')} cores", size(found.get("memory")), str(found.get("processor"))]


def sentence(run: dict[str, Any]) -> str:
    """The verdict."""
    stage, mix = f"Stage {run['stage']}", run["mix"]["name"]
    ceiling = run.get("ceiling") or {}
    found = ceiling.get("rate")
    if found is None:
        if not run["complete"]:
            return f"Incomplete: {stage} on {mix}, {_bracket(ceiling)}."
        return f"No verdict for {stage} on {mix}: {ceiling.get('no_verdict')}."
    if ceiling.get("low"):
        said = f"{stage} holds {rate(found)} requests/s of {mix} within the SLO, {interval(ceiling)}"
    else:  # older records have no interval
        said = f"{stage} holds {rate(found)} requests/s of {mix} at a p95 of {ms(ceiling['p95']['median'])} ms"
    demand = run.get("demand")
    if demand:
        box = next((one for one in demand["boxes"] if one["name"] == demand["saturates"]), None)
        if box:
            said += f"; {_box_name(run, box)}, {percent(box['utilisation'])} busy there"
        else:
            said += "; no box runs out of CPU, so something else is the limit"
    overload = run.get("overload")
    if overload:
        beyond = {"graceful": "it degrades gracefully", "cliff": "it falls off a cliff"}
        said += f". Beyond that {beyond.get(overload['verdict'], 'there is no verdict')}"
        if overload["verdict"] in beyond:
            said += f": {percent(overload['kept'])} of the goodput is left at {_at(overload):g} times the load"
    return f"{said}."


def interval(ceiling: Mapping[str, Any]) -> str:
    """The ceiling's, in words; empty for a record that is older."""
    if not ceiling.get("low"):
        return ""
    return f"with 95 % confidence between {rate(ceiling['low'])} and {rate(ceiling['high'])}"


def half_width(ceiling: Mapping[str, Any]) -> float:
    """Half of the interval's width, relative to the ceiling."""
    return float((ceiling["high"] - ceiling["low"]) / 2 / ceiling["rate"])


def foretold(run: Mapping[str, Any]) -> str:
    """What ceiling was to be expected, and how far that is from the measured one where there is one."""
    prediction, found = run.get("prediction"), (run.get("ceiling") or {}).get("rate")
    if not prediction:
        return ""
    expected = f"{rate(prediction['ceiling'])}/s" if _expects_some(prediction) else "no rate to hold the objective"
    said = f"From the trials up to {rate(prediction['below'])}/s, a queueing model expects {expected}"
    if not found:
        return f"{said}."
    return f"{said}; measured were {rate(found)}/s: it is {off(prediction['ceiling'], found)}."


def _expects_some(prediction: Mapping[str, Any]) -> bool:
    """Whether the model has a rate at which the objective is met: even a lone request may take too long for it."""
    return bool(prediction["ceiling"] > LEAST_RATE)


def off(predicted: float, measured: float) -> str:
    """The error of a prediction, relative to what was measured."""
    error = predicted / measured - 1
    return f"{percent(abs(error))} too {'high' if error > 0 else 'low'}"


def why_overloaded(run: Mapping[str, Any]) -> str:
    """Why the stage is graceful or a cliff, from how long an answer takes; empty for a record that is older."""
    overload = run.get("overload")
    if not overload or overload["verdict"] == NO_VERDICT:
        return ""
    load = next(one for one in overload["over"] if one["times"] == _at(overload))
    slo = run["slo"]["p95_ms"]
    if load.get("queue_seconds") is None:
        return ""
    wait = 1000 * load["queue_seconds"]
    capacity = f" ({load['capacity_times']:.1f} × what its busiest box can do)" if "capacity_times" in load else ""
    said = (
        f"At {load['times']:g} × the ceiling{capacity} {rate(load['in_flight'])} requests were in flight and "
        f"{rate(load['answered_rate'])} a second answered, so an answer took about {ms(wait)} ms: "
    )
    late = wait > slo
    said += f"{'longer than' if late else 'within'} the {slo:.0f} ms of the SLO. "
    if late == (overload["verdict"] == "cliff"):
        return said + ("So the stage answers, but too late: a cliff." if late else "So it is graceful.")
    if late:
        in_time = percent(load["goodput"] / load["answered_rate"])
        return said + f"But {in_time} of the answers came within it: most of those in flight were kept waiting outside."
    return said + f"So that alone does not explain why it is {overload['verdict'].replace('cliff', 'a cliff')}."


def _box_name(run: dict[str, Any], box: dict[str, Any]) -> str:
    if len(run["boxes"]) == 1:
        return "its only box saturates first"
    several = len(box.get("boxes", ())) > 1
    return f"the boxes “{box['name']}” saturate first" if several else f"the box “{box['name']}” saturates first"


def _bracket(ceiling: dict[str, Any]) -> str:
    passed, failed = ceiling.get("passed"), ceiling.get("failed")
    if passed and failed:
        return f"a short trial passed at {rate(passed)} requests/s and one failed at {rate(failed)}"
    if passed:
        return f"a short trial passed at {rate(passed)} requests/s"
    if failed:
        return f"a trial failed at {rate(failed)} requests/s"
    return "ended before a rate was judged"


def notes(run: dict[str, Any]) -> list[str]:
    """What a reader must know before using the figures."""
    found = []
    if not run["complete"]:
        found.append(f"This run is incomplete: {run['why_incomplete']}. What was measured until then is below.")
    if (run.get("ceiling") or {}).get("no_verdict"):
        found.append(f"There is no ceiling here: {run['ceiling']['no_verdict']}.")
    if run["mode"] == "quick":
        said = "A quick search, for teaching: short trials. Take the full one for figures to keep."
        if (run.get("ceiling") or {}).get("rate") and run["ceiling"].get("low"):
            said += f" Its ceiling is known to ± {percent(half_width(run['ceiling']))}."
        found.append(said)
    found += [
        f"The box “{name}” had no CPU left. No request waits for it, so it lowers no ceiling; but what it does in the "
        "background came later and later."
        for name in (run.get("demand") or {}).get("behind", ())  # older records have none
    ]
    overload = run.get("overload")
    if overload and overload["limits"]:
        limits = ", ".join(overload["limits"])
        found.append(f"In the overload: {limits}. The stage may do better there than shown.")
    limited = [trial for trial in run["trials"] if trial["judged"] and not trial["valid"]]
    if limited:
        found.append(
            f"Trials that generator, host or the machine's speed limited, and that so gave no verdict: {len(limited)}."
        )
        if said := remedy(run):
            found.append(said)
    if run["commit"]["changed"]:
        found.append("Files had been changed since the commit that is named below.")
    return found


def remedy(run: dict[str, Any]) -> str:
    """What to do where the host was the limit in a trial that was judged; empty where it was not."""
    limits = [limit for trial in run["trials"] if trial.get("judged", True) for limit in trial["limits"]]
    if not any(limit.startswith("host") for limit in limits):
        return ""
    if any(box["cpus"] > SMALL_BOX_CPUS for box in run["boxes"]):
        return (
            f"This machine has too little CPU for {len(run['boxes'])} boxes of this size and the generator: close "
            f"other programs, or take smaller boxes for all stages: make box CPU={SMALL_BOX_CPUS:g}"
        )
    return f"This machine has too little CPU for {len(run['boxes'])} boxes and the generator: close other programs."


def a_request(run: dict[str, Any]) -> dict[str, tuple[str, float]]:
    """What a client's request leads to behind the edge, by what is counted: in words, and as a number."""
    found = run.get("a_request") or {}
    said: dict[str, tuple[str, Callable[[float], str]]] = {
        "queries": ("database queries a request", lambda value: f"{value:.2f}"),
        "hit_ratio": ("cache hits, of its look-ups", percent),
        "origin_requests": ("requests at the origin a request", lambda value: f"{value:.2f}"),
        "origin_bytes": ("bytes from the origin a request", lambda value: f"{value:,.0f}".replace(",", " ")),
    }
    return {name: (form(found[key]), found[key]) for key, (name, form) in said.items() if key in found}


def numbers(run: dict[str, Any]) -> list[dict[str, str]]:
    """The figures in short: name, value, and a few words more."""
    ceiling = run.get("ceiling") or {}
    if not ceiling.get("rate"):
        return []
    p95, completed = ceiling["p95"], ceiling["completed_rate"]
    spread = f"median of {ceiling['confirmations']}: {rate(completed['low'])} to {rate(completed['high'])} achieved"
    if ceiling["confirmations"] == 1:
        spread = f"{rate(completed['median'])} achieved, one confirmation"
    if ceiling.get("low"):
        spread = f"95 %: {rate(ceiling['low'])} to {rate(ceiling['high'])}"
    found = [
        {"name": "ceiling", "value": f"{rate(ceiling['rate'])}/s", "more": spread},
        {
            "name": "p95 there",
            "value": f"{ms(p95['median'])} ms",
            "more": f"{ms(p95['low'])} to {ms(p95['high'])} ms",
        },
    ]
    if ceiling.get("low"):
        found.append(
            {"name": "known to", "value": f"± {percent(half_width(ceiling))}", "more": "half of the 95 % interval"}
        )
    elif ceiling["failed"]:
        wide = (ceiling["failed"] / ceiling["passed"] - 1) / 2
        found.append(
            {
                "name": "lowest rate that failed",
                "value": f"{rate(ceiling['failed'])}/s",
                "more": f"± {percent(wide)}",
            }
        )
    if demand := run.get("demand"):
        busiest = demand["boxes"][0]
        found.append(
            {
                "name": f"CPU a request on {busiest['name']}",
                "value": f"{busiest['per_request_ms']:.2f} ms",
                "more": f"at {percent(busiest['utilisation'])} of {busiest['capacity']:g} CPU",
            }
        )
    if prediction := run.get("prediction"):
        found.append(
            {
                "name": "predicted ceiling",
                "value": f"{rate(prediction['ceiling'])}/s" if _expects_some(prediction) else "none",
                "more": off(prediction["ceiling"], ceiling["rate"]),
            }
        )
    found += [{"name": name, "value": value, "more": "at the ceiling"} for name, (value, _) in a_request(run).items()]
    if overload := run.get("overload"):
        found += [
            {
                "name": f"goodput at {_at(overload):g} ×",
                "value": percent(overload["kept"]) if overload["verdict"] != NO_VERDICT else NONE,
                "more": overload["verdict"],
            },
            {
                "name": "recovered after",
                "value": recovered(overload, "not yet"),
                "more": f"back at {percent(overload['back_to'])} of the ceiling",
            },
        ]
    return found


def warmed(what: Mapping[str, Any]) -> str:
    """What was read before the search, so that the stage's cache was not empty; ``what`` is as in run.json."""
    all_of_it = "all that was to be read" if what["whole"] else "the most popular, as far as there was time"
    # Older records know of no other size.
    cores = f", with {what['cpus']} CPU for each box meanwhile" if "cpus" in what else ""
    return f"The cache was warmed by {what['sent']:,} reads in {what['seconds']:.0f} s{cores}: {all_of_it}."
