"""``poolhand status``: is this machine serving, and if not, why, and what helps?"""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

from ..control.client import AgentNotRunning, get
from . import sections
from .exits import Exit
from .places import add_config, add_state_dir, config_of, socket_of
from .render import items, plain, table

ANSWER_S = 5.0
"""Seconds that a running agent may take to answer."""

SECTIONS: Mapping[str, Callable[[Mapping[str, object]], Iterator[str]]] = MappingProxyType(
    {
        "line": sections.line,
        "pool": sections.pool,
        "rest": sections.rest,
        "slots": sections.slots,
        "requests": sections.requests,
        "memory": sections.memory,
        "cache": sections.cache,
        "config": sections.config,
        "node": sections.node,
    }
)
"""The parts of the answer, in the order in which they are shown."""


def add_arguments(parser: ArgumentParser) -> None:
    """Take the state folder, a file to hold the agent to, and the form."""
    add_config(parser)
    add_state_dir(parser)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def main(args: Namespace) -> int:
    """Ask the agent and draw its answer; with ``--json`` print it as it came.

    Returns:
        0 serving, 3 not running, 4 running but not serving, 1 if the answer is none.
    """
    try:
        code, body = get(socket_of(args), "/v1/status", ANSWER_S)
        answer = read(code, body)
        _refuse_another_file(args, answer)
    except AgentNotRunning as error:
        if args.json:
            reason = {"code": error.code, "words": str(error), "remedy": error.remedy}
            print(json.dumps({"serving": False, "why_not": [reason]}))
        else:
            print(f"serving: no\n  {error}\n  -> {error.remedy}")
        return Exit.NOT_RUNNING
    if not answer:
        print(f"poolhand: the agent gave no status (HTTP {code})", file=sys.stderr)
        return Exit.FAILURE
    if args.json:
        print(body.decode(errors="replace").rstrip("\n"))
    else:
        print("\n".join(drawn(answer, is_coloured=_is_coloured())))
    return Exit.OK if answer.get("serving") is True else Exit.NOT_SERVING


def read(code: int, body: bytes) -> Mapping[str, object]:
    """The JSON object of a good answer; empty for any other."""
    try:
        return table(cast("object", json.loads(body))) if code == 200 else {}  # noqa: PLR2004  # HTTP OK
    except (ValueError, RecursionError):
        return {}


def drawn(answer: Mapping[str, object], *, is_coloured: bool) -> Iterator[str]:
    """The human view, line by line; the first answers the one question."""
    is_serving = answer.get("serving") is True
    word = "yes" if is_serving else "no"
    colour = "32" if is_serving else "31"
    yield "serving: " + (f"\x1b[1;{colour}m{word}\x1b[0m" if is_coloured else word)
    for reason in map(table, items(answer.get("why_not"))):
        yield f"  {plain(reason.get('words') or reason.get('code'))}"
        if reason.get("remedy"):
            yield f"  -> {plain(reason['remedy'])}"
    for name, part in SECTIONS.items():
        facts = table(answer.get(name))
        if name == "slots" and isinstance(answer.get(name), list):
            facts = {"stays": answer[name], "max": answer.get("max_model_slots")}
        if facts:
            for at, row in enumerate(part(facts)):
                yield plain(f"{name if at == 0 else '':<10}{row}".rstrip())


def _refuse_another_file(args: Namespace, answer: Mapping[str, object]) -> None:
    """With ``--config`` the question is about the agent that runs this very file."""
    running = table(answer.get("config")).get("path")
    if args.config is None or not isinstance(running, str):
        return
    if os.path.realpath(running) != os.path.realpath(config_of(args)):
        reason = f"the agent there runs another file, {Path(running)}"
        raise AgentNotRunning(path=str(socket_of(args)), reason=reason)


def _is_coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
