"""What each ``poolhand config`` verb takes, and which file does it."""

from argparse import ArgumentParser, Namespace
from typing import cast

from ...config.paths import SCHEMA_FILE
from .exits import Exit
from .places import add_config, add_state_dir

ACTIONS: tuple[tuple[str, str], ...] = (
    ("init", "write a commented file that is made for this machine"),
    ("check", "read the configuration as the agent would, and say what is wrong with it"),
    ("show", "what is set, and where; with --effective every key"),
    ("get", "the value of one key, or of all keys of a table"),
    ("set", "set one key in the file and keep everything else as it is"),
    ("diff", "what the files say and the running agent does not do yet"),
    ("schema", "the JSON Schema of the file, for editors"),
)
"""The actions, in the order in which one needs them."""


def add_arguments(parser: ArgumentParser) -> None:
    """Take an action and its arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, words in ACTIONS:
        one = actions.add_parser(name, help=words, description=words, allow_abbrev=False)
        if name == "schema":
            one.add_argument("--json", action="store_true", help="it is JSON in any case")
            continue
        add_config(one)
        match name:
            case "init":
                one.add_argument("--url", metavar="URL", help="the coordinator to call")
                one.add_argument(
                    "--force", action="store_true", help="replace a file that is there"
                )
                continue
            case "get" | "set":
                one.add_argument("key", metavar="KEY", help="such as slots.max_model_slots")
            case "show":
                one.add_argument("--effective", action="store_true", help="defaults, too")
            case "diff":
                add_state_dir(one)
            case _:
                pass
        if name == "set":
            one.add_argument("value", metavar="VALUE", help="text as it is, else as TOML has it")
        one.add_argument("--json", action="store_true", help="print JSON for programs")


def main(args: Namespace) -> int:
    """Do what was asked for."""
    match cast("str", args.action):
        case "init":
            from .config_init import config_init  # noqa: PLC0415  # only for this verb

            return config_init(args)
        case "set":
            from .config_set import config_set  # noqa: PLC0415  # only for this verb

            return config_set(args)
        case "diff":
            from .config_diff import config_diff  # noqa: PLC0415  # only for this verb

            return config_diff(args)
        case "check":
            from .config_read import config_check  # noqa: PLC0415  # only for this verb

            return config_check(args)
        case "show":
            from .config_read import config_show  # noqa: PLC0415  # only for this verb

            return config_show(args)
        case "get":
            from .config_read import config_get  # noqa: PLC0415  # only for this verb

            return config_get(args)
        case _:
            print(SCHEMA_FILE.read_text(encoding="utf-8"), end="")
            return Exit.OK
