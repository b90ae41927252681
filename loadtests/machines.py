"""Whether two runs are of one machine, at one speed: else their figures must not be set against each other."""

from collections.abc import Mapping
from typing import Any

from loadtests.ceiling.speed import faster, usual
from loadtests.ceiling.verdict import SPEED_OFF_AT_MOST
from loadtests.report import words


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """How the machines of two runs, each as its run.json has it, differ, and their speeds; empty where they do not.

    A record of before kernel and speed were kept is as it is.
    """
    found = [", ".join(words.machine(run["machine"])) for run in (first, second)]
    if found[0] != found[1]:
        return ["machines: " + " and ".join(found)]
    one, other = speeds = [usual(run["trials"]) for run in (first, second)]
    if one is None or other is None:
        told = [name for name, speed in zip(("first", "second"), speeds, strict=True) if speed]
        return [f"the machine's speed is known of the {told[0]} only"] if told else []
    kernels = [str(run["machine"].get("kernel")) for run in (first, second)]
    if kernels[0] != kernels[1]:
        return ["machines with the kernels " + " and ".join(kernels)]
    if max(faster(one, other), faster(other, one)) > SPEED_OFF_AT_MOST:
        return [
            f"the machine did the canary's work in {one.fastest:.0f} and {other.fastest:.0f} ns at best, and usually "
            f"in {one.median:.0f} and {other.median:.0f}, so its own speed was another one: measure both again, one "
            "right after the other"
        ]
    return []
