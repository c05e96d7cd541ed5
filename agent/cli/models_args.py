"""What each ``poolhand models`` verb takes, and which file does it."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import cast

from .parsing import Parser
from .places import add_config, add_state_dir

VERBS: tuple[tuple[str, str], ...] = (
    ("list", "what this machine may offer, and what is here"),
    ("fetch", "bring a model into the cache, or a copy of it into a folder"),
    ("manifest", "print the manifest of a folder, to be put beside its files in a store"),
    ("show", "what is known of a build in the cache"),
    ("verify", "read builds whole and hold them to their digests; 1 if one is damaged"),
    ("rm", "delete a model from the cache"),
    ("prune", "delete what is left over, what nobody offers, what is beyond the bounds"),
    ("why", "what would happen if it were asked for now"),
    ("pin", "let a model make way for no other, in the running agent"),
    ("unpin", "take a pin back"),
)
"""The actions, in the order of a model's life."""


def add_arguments(parser: ArgumentParser) -> None:
    """Take an action and its arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    asked = parser.words if isinstance(parser, Parser) else ()
    alone = [one for one in VERBS if one[0] in asked[:1]]
    for name, words in alone or VERBS:
        one = actions.add_parser(name, help=words, description=words, allow_abbrev=False)
        add_config(one)
        add_state_dir(one)
        one.add_argument("--json", action="store_true", help="print JSON for programs")
        match name:
            case "fetch":
                _add_fetch(one)
            case "show" | "rm" | "why" | "pin" | "unpin":
                one.add_argument("model", metavar="MODEL", help="its id, alias, ref or folder")
            case "verify":
                _add_verify(one)
            case "manifest":
                _add_manifest(one)
            case _:
                pass


def main(args: Namespace) -> int:
    """Do what was asked for."""
    match cast("str", args.action):
        case "fetch":
            from .models_fetch import models_fetch  # noqa: PLC0415  # only for this verb

            return models_fetch(args)
        case "manifest":
            from .models_manifest import models_manifest  # noqa: PLC0415  # only for this verb

            return models_manifest(args)
        case "show":
            from .models_show import models_show  # noqa: PLC0415  # only for this verb

            return models_show(args)
        case "verify":
            from .models_keep import models_verify  # noqa: PLC0415  # only for this verb

            return models_verify(args)
        case "rm":
            from .models_keep import models_rm  # noqa: PLC0415  # only for this verb

            return models_rm(args)
        case "prune":
            from .models_keep import models_prune  # noqa: PLC0415  # only for this verb

            return models_prune(args)
        case "why":
            from .why import why  # noqa: PLC0415  # only for this verb

            return why(args)
        case "pin" | "unpin":
            from .pins import pin  # noqa: PLC0415  # only for this verb

            return pin(args, is_pinned=args.action == "pin")
        case _:
            from .models import models  # noqa: PLC0415  # only for this verb

            return models(args)


def rate(text: str) -> float:
    """Bytes a second as people write them: ``500K``, ``20MiB/s``, ``1.5G``.

    Raises:
        ArgumentTypeError: It is none.
    """
    units = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
    low = text.strip().lower().removesuffix("/s").removesuffix("b")
    digits = low.rstrip("kmgi")
    try:
        bytes_s = float(digits) * units[low[len(digits) :]]
    except (ValueError, KeyError):
        bytes_s = 0.0
    if not 1 <= bytes_s < 2**50:
        message = f"{text!r} is no rate such as 500K, 20MiB/s or 1.5G"
        raise ArgumentTypeError(message)
    return bytes_s


def count(text: str) -> int:
    """How many connections, 1 to 64.

    Raises:
        ArgumentTypeError: It is no such number.
    """
    most = 64
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        message = f"{text!r} is no number from 1 to {most}"
        raise ArgumentTypeError(message)
    return int(text)


def peer(text: str) -> str:
    """Where a peer listens, as ``HOST:PORT``.

    Raises:
        ArgumentTypeError: It is no such address.
    """
    from ...config.peers import checked  # noqa: PLC0415  # only for this option

    try:
        return checked(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def _add_fetch(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="REF", help="s3://bucket/prefix, …, or a configured id")
    parser.add_argument(
        "--to",
        metavar="DIR",
        type=Path,
        help="copy every object there under its relative name (default: the cache folder)",
    )
    parser.add_argument(
        "--metadata-only",
        action="store_true",
        help="only what tells about the model (configuration, index, tokenizer, templates), "
        "to --to or to a folder of the cache that no agent serves from",
    )
    held = parser.add_mutually_exclusive_group()
    held.add_argument(
        "--checksums",
        metavar="FILE",
        type=Path,
        help="what `sha256sum` printed; every object has to be in it and to match",
    )
    held.add_argument(
        "--no-verify",
        action="store_true",
        help="hold the bytes to no promise: neither checksums nor the store's manifest",
    )
    parser.add_argument("--id", metavar="ID", help="name in the cache (default: the ref's end)")
    parser.add_argument("--endpoint", metavar="URL", help="S3 endpoint; wins over AWS_ENDPOINT_URL")
    parser.add_argument("--connections", metavar="N", type=count, help="at once, 1 to 64")
    parser.add_argument(
        "--peer",
        metavar="HOST:PORT",
        type=peer,
        action="append",
        help="a node that may have it already; can be named again (default: peers.urls)",
    )
    parser.add_argument(
        "--peers-key", metavar="FILE", type=Path, help="with --peer (default: peers.key_file)"
    )
    parser.add_argument("--limit", metavar="RATE", type=rate, help="such as 500K, 20MiB/s, 1.5G")


def _add_manifest(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="where the files lie")
    parser.add_argument("--id", metavar="ID", required=True, help="the build's id, as configured")
    parser.add_argument("--version", metavar="V", default="v1", help="of the build (default: v1)")


def _add_verify(parser: ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("model", metavar="MODEL", nargs="?", help="one build (default: all)")
    what.add_argument("--to", metavar="DIR", type=Path, help="the copy that was fetched there")
    parser.add_argument(
        "--repair", action="store_true", help="fetch again what is damaged, and only that"
    )
