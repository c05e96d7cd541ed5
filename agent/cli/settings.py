"""``poolhand config check``: read the configuration as the agent would, and start nothing."""

import json
import os
from argparse import ArgumentParser, Namespace

from ...config.errors import ConfigError, ConfigInvalid
from ...config.load import load
from ...config.secrets import coordinator_token
from .exits import Exit
from .places import add_config, config_of


def add_arguments(parser: ArgumentParser) -> None:
    """Take an action and the file."""
    parser.add_argument("action", choices=["check"])
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def main(args: Namespace) -> int:
    """Say every problem of the file, of the environment and of the token's source.

    Returns:
        0, or 78 if an agent would not start with it.
    """
    path = config_of(args)
    problems: list[str] = []
    warnings: list[str] = []
    try:
        loaded = load(path, os.environ)
        found = coordinator_token(loaded.settings.coordinator, os.environ)
        warnings += [found.warning] if found.warning else []
    except ConfigError as error:
        problems += [str(error), *(error.others if isinstance(error, ConfigInvalid) else ())]
        remedy = error.remedy
    else:
        remedy = ""
    if args.json:
        report = {"ok": not problems, "path": str(path), "problems": problems, "warnings": warnings}
        print(json.dumps(report))
    else:
        for line in [*problems, *(f"warning: {text}" for text in warnings)]:
            print(line)
        print(f"  {remedy}" if problems else f"{path}: good")
    return Exit.CONFIG if problems else Exit.OK
