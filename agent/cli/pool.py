"""``poolhand pool``: which pool this machine serves, and another one."""

import json
import sys
from argparse import ArgumentParser, Namespace
from typing import cast

from ..control.client import AgentNotRunning, get
from . import orders, sections
from .exits import Exit
from .places import socket_of
from .render import failed, plain, table
from .status import ANSWER_S, read

ACTIONS: tuple[tuple[str, str], ...] = (
    ("status", "which pool is served, who chose it, what keeps the machine in it"),
    ("set", "serve another pool; what runs is finished first"),
    ("release", "take the choice back: the node chooses again"),
)


def add_arguments(parser: ArgumentParser) -> None:
    """Take an action and its arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, words in ACTIONS:
        one = actions.add_parser(name, help=words, description=words, allow_abbrev=False)
        orders.add_common(one, may_wait=name == "set")
        if name == "set":
            one.add_argument("pool", metavar="POOL", help="an alias, or a model's id")
            one.add_argument(
                "--now", action="store_true", help="end requests of other models at once"
            )


def main(args: Namespace) -> int:
    """Do what was asked for.

    Returns:
        See :func:`~.orders.give`; ``pool status``: 0, 3 if no agent answers, 1 if it answers
        no sense.
    """
    match cast("str", args.action):
        case "set":
            return orders.give(args, "/v1/pool/set", {"pool": args.pool, "now": args.now})
        case "release":
            return orders.give(args, "/v1/pool/release", {})
        case _:
            return _status(args)


def _status(args: Namespace) -> int:
    try:
        code, body = get(socket_of(args), "/v1/status", ANSWER_S)
    except AgentNotRunning as error:
        failed(error, is_json=args.json)
        return Exit.NOT_RUNNING
    facts = table(read(code, body).get("pool"))
    if not facts:
        print(f"poolhand: the agent told of no pool (HTTP {code})", file=sys.stderr)
        return Exit.FAILURE
    if args.json:
        print(json.dumps(facts))
    else:
        print("\n".join(plain(row) for row in sections.pool(facts)))
    return Exit.OK
