"""Does the machine's owner need it? What was read of the machine in, a verdict out.

A reason has to hold for a while before the machine steps aside, and none may hold for a longer
while before it serves again: whoever only passes by costs nothing, and whoever works is not
disturbed at each pause for thought. What cannot be read is no reason.
"""

from ...backends.hosts.base import THERMAL_STATES, Activity, ThermalState, hottest
from ...config.frozen import frozen
from ...config.hours import Owner, Sign


@frozen
class Verdict:
    """Whether the machine is the owner's now.

    Attributes:
        is_owners: Whether to step aside.
        sign: What speaks for it, or did last; ``None`` if nothing does.
        words: The same for a person; empty if nothing does.
        held_s: Since when a reason has held without a break, in the node's time.
        clear_s: Since when none has, in the node's time.
    """

    is_owners: bool = False
    sign: Sign | None = None
    words: str = ""
    held_s: float | None = None
    clear_s: float | None = None


NOBODY = Verdict()


def judge(
    before: Verdict,
    owner: Owner,
    activity: Activity,
    thermal_state: ThermalState | None,
    now_s: float,
) -> Verdict:
    """What a reading of the machine changes.

    Args:
        before: The verdict so far.
        owner: What is heeded, and for how long.
        activity: What was read.
        thermal_state: How hot the latest sample found it; ``None`` if that did not say.
        now_s: The node's time.
    """
    found = sign(owner, activity, thermal_state, was_busy=before.sign == "gpu")
    if found is not None:
        name, words = found
        held_s = now_s if before.held_s is None else before.held_s
        is_owners = before.is_owners or now_s - held_s >= owner.yield_after_s
        return Verdict(is_owners, name, words, held_s, None)
    if not before.is_owners:
        return NOBODY
    clear_s = now_s if before.clear_s is None else before.clear_s
    if now_s - clear_s >= owner.resume_after_s:
        return NOBODY
    return Verdict(is_owners=True, sign=before.sign, words=before.words, clear_s=clear_s)


def sign(
    owner: Owner, activity: Activity, thermal_state: ThermalState | None, *, was_busy: bool
) -> tuple[Sign, str] | None:
    """The first reason to step aside, and what a person is told of it.

    Args:
        owner: What is heeded.
        activity: What was read.
        thermal_state: How hot the latest sample found it; the hotter of the two counts.
        was_busy: Whether the GPU was others' at the last reading: it is until it is half free.
    """
    idle_s, busy_ratio = activity.input_idle_s, activity.others_gpu_ratio
    if "input" in owner.yield_to and idle_s is not None and idle_s < owner.input_within_s:
        return "input", f"keyboard or mouse used {idle_s:.0f} s ago"
    if "battery" in owner.yield_to and activity.is_on_battery:
        return "battery", "the machine runs on its battery"
    most_ratio = owner.gpu_busy_ratio / 2 if was_busy else owner.gpu_busy_ratio
    if "gpu" in owner.yield_to and busy_ratio is not None and busy_ratio > most_ratio:
        return "gpu", f"another program keeps the GPU {busy_ratio:.0%} busy"
    heat = hottest([thermal_state, activity.thermal_state])
    levels = THERMAL_STATES
    if "heat" in owner.yield_to and heat and levels.index(heat) >= levels.index(owner.heat):
        return "heat", f"the machine's heat is {heat}"
    return None
