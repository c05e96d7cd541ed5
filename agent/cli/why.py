"""``poolhand models why MODEL``: what would happen if it were asked for now?"""

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import cast

from ..control.client import AgentNotRunning, get
from .exits import Exit
from .places import socket_of
from .render import failed, items, plain, table
from .status import ANSWER_S, read


def why(args: Namespace) -> int:
    """Say whether a request for the model would reach this machine, and if not, what is in its way.

    Returns:
        0 it would; 4 it would not; 1 the model is not offered; 3 no agent answers.
    """
    name = cast("str", args.model)
    try:
        answer = read(*get(socket_of(args), "/v1/models", ANSWER_S))
    except AgentNotRunning as error:
        failed(error, is_json=args.json)
        return Exit.NOT_RUNNING
    found = [
        model
        for model in map(table, items(answer.get("models")))
        if name == model.get("id") or name in items(model.get("aliases"))
    ]
    if args.json:
        print(json.dumps({"models": found}))
    else:
        print("\n".join(drawn(name, found)))
    if not found:
        return Exit.FAILURE
    is_reached = any(not items(model.get("blockers")) for model in found)
    return Exit.OK if is_reached else Exit.NOT_SERVING


def drawn(name: str, found: list[Mapping[str, object]]) -> Iterator[str]:
    """The same for people, one paragraph a build."""
    if not found:
        yield plain(f"model '{name}' is not offered here: `poolhand models list`")
    for model in found:
        blockers = [table(one) for one in items(model.get("blockers"))]
        state = plain(model.get("state")).replace("_", " ")
        would = "would not reach this machine" if blockers else "would be answered here"
        yield f"{plain(model.get('id'))} ({state}): a request for it {would}"
        for one in blockers:
            doubt = "" if one.get("certain") else " (with a coordinator left at its defaults)"
            yield f"  {plain(one.get('code'))}: {plain(one.get('words'))}{doubt}"
            if one.get("remedy"):
                yield f"  -> {plain(one['remedy'])}"
