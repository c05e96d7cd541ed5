"""``poolhand config diff``: what the files say and the running agent does not do yet."""

import json
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from ...config.change import WORDS, when
from ...config.load import load
from ...config.told import Json, flat, toml
from ..control.client import AgentNotRunning, get
from .exits import Exit
from .places import config_of, socket_of
from .render import items, plain, table

ANSWER_S = 5.0


def config_diff(args: Namespace) -> int:
    """Compare the files with the agent that runs; without ``--config`` with the agent's own.

    Returns:
        0 when it could be compared.

    Raises:
        AgentNotRunning: Nobody answers.
        ConfigError: The files do not hold; what is in force is then the last that did.
    """
    _, body = get(socket_of(args), "/v1/config", ANSWER_S)
    told = _read(body)
    running = table(told.get("settings"))
    if not running:
        raise AgentNotRunning(path=str(socket_of(args)), reason="the answer was no configuration")
    theirs = told.get("path")
    is_theirs = args.config is None and isinstance(theirs, str)
    loaded = load(Path(str(theirs)) if is_theirs else config_of(args), os.environ)
    origins = table(told.get("origins"))
    other = _differences(running, flat(loaded.settings), origins)
    pending = [str(key) for key in items(told.get("pending"))]
    if args.json:
        print(json.dumps({"path": str(loaded.path), "pending": pending, "differences": other}))
        return Exit.OK
    for key, (before, after) in other.items():
        holds = WORDS["restart"] if key.partition("[")[0] in pending else WORDS[when(key)]
        print(plain(f"{key}: {_said(before)} -> {_said(after)}  ({holds})"))
    if not other:
        print("the running agent does what the files say")
    return Exit.OK


def _read(body: bytes) -> Mapping[str, object]:
    try:
        return table(cast("object", json.loads(body)))
    except (ValueError, RecursionError):
        return {}


def _differences(
    running: Mapping[str, object], wanted: Mapping[str, Json], origins: Mapping[str, object]
) -> Mapping[str, tuple[object, object]]:
    """By key: what runs and what is wanted; not what the agent's own environment decides."""
    keys = dict.fromkeys([*running, *wanted])
    return {
        key: (running.get(key), wanted.get(key))
        for key in keys
        if running.get(key) != wanted.get(key)
        and not str(origins.get(key, "")).startswith("environment")
    }


def _said(value: object) -> str:
    return "unset" if value is None else toml(value)
