"""Whether two runs are of one machine, at one speed: else their figures must not be set against each other."""

from collections.abc import Mapping
from typing import Any

from loadtests.ceiling.speed import usual
from loadtests.ceiling.verdict import SPEED_OFF_AT_MOST
from loadtests.report import words


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """How the machines of two runs, each as its run.json has it, differ, and their speeds; empty where they do not.

    A record of before kernel and speed were kept is as it is.
    """
    found = [", ".join(words.machine(run["machine"])) for run in (first, second)]
    if found[0] != found[1]:
        return ["machines: " + " and ".join(found)]
    speeds = [usual(run["trials"]) for run in (first, second)]
    if None in speeds:
        told = [name for name, ns in zip(("first", "second"), speeds, strict=True) if ns is not None]
        return [f"the machine's speed is known of the {told[0]} only"] if told else []
    kernels = [str(run["machine"].get("kernel")) for run in (first, second)]
    if kernels[0] != kernels[1]:
        return ["machines with the kernels " + " and ".join(kernels)]
    one, other = (ns or 1.0 for ns in speeds)
    if max(one, other) / min(one, other) - 1 > SPEED_OFF_AT_MOST:
        return [
            f"the machine did the canary's work in {one:.0f} and {other:.0f} ns, so its own speed was another one: "
            "measure both again, one right after the other"
        ]
    return []
