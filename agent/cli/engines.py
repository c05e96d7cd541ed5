"""``poolhand engines``: what could run a model here, and what is missing for the rest."""

import json
import os
import platform
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict

from ...backends.engines.survey import EngineReport, survey
from ...backends.hosts.catalog import probe_for
from ...config.load import load
from ...config.settings import Engines
from .exits import Exit
from .places import add_config, config_of
from .render import plain


def add_arguments(parser: ArgumentParser) -> None:
    """Take a configuration, which may name the programs of engines."""
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def main(args: Namespace) -> int:
    """Look, and print one line for each engine; without a configuration, by the defaults.

    Returns:
        0, also if none is available.

    Raises:
        ConfigError: There is a configuration, and it cannot be used.
    """
    path = config_of(args)
    is_there = args.config is not None or path.exists()
    engines = load(path, os.environ).settings.engines if is_there else Engines()
    facts = probe_for(sys.platform, platform.machine()).facts()
    boards = [board.name or f"board {board.index}" for board in facts.gpus]
    found = survey(engines, chip=facts.chip_name, boards=boards)
    if args.json:
        print(json.dumps({"engines": [asdict(one) for one in found]}))
    else:
        print("\n".join(_lines(found)))
    return Exit.OK


def _lines(found: Sequence[EngineReport]) -> list[str]:
    width = max(len(one.name) for one in found)
    lines: list[str] = []
    for one in found:
        known = [word for word in (one.version, one.device) if word]
        said = ", ".join(known) if one.available else one.why_not or ""
        lines.append(plain(f"{one.name:<{width}}  {'yes' if one.available else 'no ':<3}  {said}"))
        if one.install:
            lines.append(plain(f"{'':<{width}}       {one.install}"))
    return lines
