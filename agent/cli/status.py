"""``poolhand status``: is this machine serving, and if not, why, and what helps?"""

import json
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

from ..control.client import AgentNotRunning, get
from . import sections
from .exits import Exit
from .places import add_config, add_state_dir, config_of, socket_of
from .render import items, plain, size, table, wants_colour

ANSWER_S = 5.0
"""Seconds that a running agent may take to answer."""


def peers(part: Mapping[str, object]) -> Iterator[str]:
    """Where it answers peers, and what they have read."""
    error = table(part.get("error"))
    if error:
        yield f"{plain(part.get('listen'))}: {plain(error.get('words'))}"
        return
    sent = part.get("sent_bytes")
    said = f", {size(sent)} read by them" if isinstance(sent, int) else ""
    yield f"{plain(part.get('listen'))}, {plain(part.get('connections'))} connected{said}"
    if part.get("refused"):
        yield f"refused {plain(part['refused'])}x: somebody has another key"
    for model in items(part.get("kept_back")):
        yield f"not passed on: {plain(model)}, which is being read through or damaged"


def telemetry(part: Mapping[str, object]) -> Iterator[str]:
    """Whether traces arrive, and what helps if they do not."""
    error = table(part.get("error"))
    lost = f", {plain(part.get('failed'))} not taken, {plain(part.get('dropped'))} dropped"
    yield f"traces {plain(part.get('state'))}: {plain(part.get('sent'))} spans sent{lost}"
    if error:
        yield f"{plain(error.get('words'))}; {plain(error.get('remedy'))}"


SECTIONS: Mapping[str, Callable[[Mapping[str, object]], Iterator[str]]] = MappingProxyType(
    {
        "line": sections.line,
        "drains": sections.drains,
        "pool": sections.pool,
        "reach": sections.reach,
        "desired": sections.desired,
        "rest": sections.rest,
        "slots": sections.slots,
        "requests": sections.requests,
        "memory": sections.memory,
        "cache": sections.cache,
        "peers": peers,
        "telemetry": telemetry,
        "config": sections.config,
        "restarts": sections.restarts,
        "failures": sections.failures,
        "node": sections.node,
    }
)
"""The parts of the answer, in the order in which they are shown."""


_AS_LISTS = {name: name for name in ("drains", "desired", "restarts", "failures")} | {
    "slots": "stays"
}
"""Parts of the answer that are lists, and how their functions know them."""


def add_arguments(parser: ArgumentParser) -> None:
    """Take the state folder, a file to hold the agent to, and the form."""
    add_config(parser)
    add_state_dir(parser)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    parser.add_argument("--watch", action="store_true", help="go on, until interrupted")
    parser.add_argument(
        "--interval", metavar="S", type=float, default=1.0, help="with --watch: seconds a frame"
    )


def main(args: Namespace) -> int:
    """Ask the agent and draw its answer; with ``--json`` print it as it came.

    Returns:
        0 serving, 3 not running, 4 running but not serving, 1 if the answer is none.
    """
    if args.watch and not args.json:
        return board(args, lambda answer: drawn(answer, is_coloured=wants_colour()))
    if args.watch:
        from .board import watch  # noqa: PLC0415  # only for this option

        return watch(lambda: _seen(args)[1:], every_s=_every_s(args))
    return once(args)


def once(args: Namespace) -> int:
    """One picture, or one JSON object; returns as :func:`main`."""
    _, lines, code = _seen(args)
    print("\n".join(lines), file=sys.stderr if code == Exit.FAILURE else sys.stdout)
    return code


def board(args: Namespace, draw: Callable[[Mapping[str, object]], Iterable[str]]) -> int:
    """Draw the answer again and again, with the pace of all engines below it.

    Args:
        args: With ``interval``, and ``once`` for a single picture.
        draw: The answer's picture.

    Returns:
        As :func:`main`, for the last picture.
    """
    from .board import Sparks, is_narrow, watch  # noqa: PLC0415  # only for boards

    sparks, is_ascii = Sparks(), is_narrow(sys.stdout)

    def look() -> tuple[list[str], int]:
        answer, lines, code = _seen(args)
        stays = [table(one) for one in items(answer.get("slots"))]
        counts = [one for stay in stays if isinstance(one := stay.get("generated_tokens"), int)]
        sparks.told(sum(counts) if counts else None, time.monotonic())
        if answer:
            lines = [*draw(answer), "", sparks.text(is_ascii=is_ascii)]
        return lines, code

    if getattr(args, "once", False):
        lines, code = look()
        print("\n".join(lines[:-2] if code != Exit.NOT_RUNNING else lines))
        return code
    return watch(look, every_s=_every_s(args))


def _every_s(args: Namespace) -> float:
    return min(max(cast("float", args.interval), 0.1), 3600.0)


def _seen(args: Namespace) -> tuple[Mapping[str, object], list[str], int]:
    """The answer, what to print of it, and what it means."""
    is_json = cast("bool", getattr(args, "json", False))
    try:
        code, body = get(socket_of(args), "/v1/status", ANSWER_S)
        answer = read(code, body)
        _refuse_another_file(args, answer)
    except AgentNotRunning as error:
        if is_json:
            reason = {"code": error.code, "words": str(error), "remedy": error.remedy}
            return {}, [json.dumps({"serving": False, "why_not": [reason]})], Exit.NOT_RUNNING
        return {}, ["serving: no", f"  {error}", f"  -> {error.remedy}"], Exit.NOT_RUNNING
    if not answer:
        return {}, [f"poolhand: the agent gave no status (HTTP {code})"], Exit.FAILURE
    lines = (
        [body.decode(errors="replace").rstrip("\n")]
        if is_json
        else [*drawn(answer, is_coloured=wants_colour())]
    )
    return answer, lines, Exit.OK if answer.get("serving") is True else Exit.NOT_SERVING


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
        if name in _AS_LISTS and isinstance(answer.get(name), list):
            facts = {_AS_LISTS[name]: answer[name], "max": answer.get("max_model_slots")}
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
