"""``poolhand models list``: what this machine may offer, and what of it is here."""

import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence

from ..control.client import AgentNotRunning, get
from .exits import Exit
from .places import config_of, socket_of
from .render import items, plain, size, table
from .status import ANSWER_S, read

COLUMNS = ("model", "state", "size", "pool", "aliases", "ref")


def models(args: Namespace) -> int:
    """List the models the running agent knows; with no agent, those of the file.

    Returns:
        0; 1 if the agent's answer is none.

    Raises:
        ConfigError: No agent runs, and the file cannot be read either.
    """
    try:
        code, body = get(socket_of(args), "/v1/models", ANSWER_S)
    except AgentNotRunning as error:
        answer: Mapping[str, object] = {"models": list(_of_file(args))}
        print(f"poolhand: {error}; this is what the file offers", file=sys.stderr)
    else:
        answer = read(code, body)
        if not answer:
            print(f"poolhand: the agent gave no models (HTTP {code})", file=sys.stderr)
            return Exit.FAILURE
    if args.json:
        print(json.dumps(answer))
    else:
        rows = [_cells(table(one)) for one in items(answer.get("models"))]
        print("\n".join(_aligned([COLUMNS, *rows])))
    return Exit.OK


def _of_file(args: Namespace) -> Iterator[dict[str, object]]:
    # the loader brings pydantic, which a running agent makes needless
    from ...config.load import load  # noqa: PLC0415  # see above

    for one in load(config_of(args), os.environ).settings.models:
        yield {"id": one.id, "aliases": list(one.aliases), "ref": one.where, "state": "unknown"}


def _cells(model: Mapping[str, object]) -> tuple[str, ...]:
    size_bytes = model.get("size_bytes")
    return (
        plain(model.get("id")),
        plain(model.get("state")),
        size(size_bytes) if isinstance(size_bytes, int | float) else "-",
        plain(model.get("in_pool")),
        ", ".join(plain(one) for one in items(model.get("aliases"))) or "-",
        plain(model.get("ref")),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    for row in rows:
        yield "  ".join(
            f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)
        ).rstrip()
