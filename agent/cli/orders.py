"""Gives the running agent an order, and tells how it ended: what its verbs have in common.

The first answer comes at once. What takes its time is waited for, unless told otherwise;
whoever interrupts the wait does not interrupt the order.
"""

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import cast

from ..control.client import AgentNotRunning, get, post
from .exits import Exit
from .places import add_config, add_state_dir, socket_of
from .render import plain, table

ANSWER_S = 10.0
LOOK_S = 0.2
"""From one question how an order stands to the next."""

_ENDS: Mapping[str, Exit] = {
    "done": Exit.OK,
    "under_way": Exit.OK,
    "refused": Exit.REFUSED,
    "failed": Exit.FAILURE,
}


def add_common(parser: ArgumentParser, *, may_wait: bool = False) -> None:
    """Take what every order takes."""
    add_config(parser)
    add_state_dir(parser)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    if may_wait:
        parser.add_argument(
            "--no-wait", action="store_true", help="do not wait for what takes its time"
        )


def give(args: Namespace, target: str, body: Mapping[str, object]) -> int:
    """Give an order and tell what became of it.

    Args:
        args: As :func:`add_common` made them.
        target: The route that takes the order.
        body: What goes with it.

    Returns:
        0 done, or under way and not waited for; 5 refused, and nothing was changed; 1 begun and
        failed, or no sensible answer; 3 no agent.
    """
    is_json = cast("bool", args.json)
    try:
        told = _read(post(socket_of(args), target, body, ANSWER_S)[1])
        is_waited_for = not cast("bool", getattr(args, "no_wait", False))
        if told.get("status") == "under_way" and is_waited_for:
            if not is_json:
                _say(told, is_json=False)
            told = _awaited(args, told)
    except AgentNotRunning as error:
        facts = {"code": error.code, "words": str(error), "remedy": error.remedy}
        _say({"status": "failed", **facts}, is_json=is_json)
        return Exit.NOT_RUNNING
    _say(told, is_json=is_json)
    return _ENDS.get(plain(told.get("status")), Exit.FAILURE)


def _awaited(args: Namespace, told: Mapping[str, object]) -> Mapping[str, object]:
    while told.get("status") == "under_way":
        time.sleep(LOOK_S)
        target = f"/v1/orders?order={plain(told.get('order'))}"
        told = _read(get(socket_of(args), target, ANSWER_S)[1])
    return told


def _read(body: bytes) -> Mapping[str, object]:
    """The answer; one without a status is a failure, whatever it says."""
    try:
        told = table(cast("object", json.loads(body)))
    except (ValueError, RecursionError):
        told = {"words": "the agent gave no sensible answer"}
    return {"status": "failed", **told}


def _say(told: Mapping[str, object], *, is_json: bool) -> None:
    if is_json:
        print(json.dumps(told))
        return
    status = plain(told.get("status")).replace("_", " ")
    print(f"{status}: {plain(told.get('words'))}")
    if told.get("remedy"):
        print(f"  -> {plain(told['remedy'])}")
    sys.stdout.flush()
