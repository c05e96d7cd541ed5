"""The node in one line, for a service manager that shows one."""

from .node import Node
from .slots import SlotState
from .status import reasons

MOST_LETTERS = 200


def brief(node: Node, now_s: float) -> str:
    """Whether it serves: what, for whom; or why not.

    Returns:
        One line, in which no prompt, key or token can be.
    """
    snapshot = node.snapshot(now_s)
    here = [stay.model for stay in snapshot.stays if stay.state is SlotState.READY]
    for reason in reasons(node, snapshot):
        if isinstance(reason, dict):
            return f"not serving: {reason['words']}"[:MOST_LETTERS]
    running = len(snapshot.requests)
    return f"serving {', '.join(here)}; requests: {running}"[:MOST_LETTERS]
