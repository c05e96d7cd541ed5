"""``poolhand config set KEY VALUE``: one key changed, checked before it is written."""

import json
import os
import sys
from argparse import Namespace
from codecs import BOM_UTF8
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from ...config.change import WORDS, when
from ...config.edit import replace_file, with_key
from ...config.keys import Key, NoSuchKey, key_of
from ...config.layers import Laid, lay, read_files
from ...config.lines import KeyPath
from ...config.load import Loaded, load
from ...config.problems import dotted
from ...config.told import toml
from ...config.variables import value_of
from .exits import Exit
from .places import config_of


def config_set(args: Namespace) -> int:
    """Set one key in the file that has it, else in the first.

    Returns:
        0, or 2 if there is no such key or the value cannot be one.

    Raises:
        ConfigInvalid: The configuration would not hold; nothing was written.
        ConfigUnwritable: The file cannot be written.
    """
    path, named, text = config_of(args), cast("str", args.key), cast("str", args.value)
    files = read_files(path)
    laid = lay(files)
    try:
        key = key_of(named, _ids(laid))
        value = _value(key, named, text)
    except (NoSuchKey, ValueError) as error:
        print(f"poolhand: {error}", file=sys.stderr)
        return Exit.USAGE
    file, loaded = write_key(path, files, laid, key.at, value)
    origin = loaded.origins.get(dotted(key.at))
    overridden = str(origin) if origin is not None and origin.kind == "environment" else ""
    if args.json:
        held = {"key": dotted(key.at), "file": str(file), "holds": when(dotted(key.at))}
        print(json.dumps({**held, "overridden_by": overridden or None}))
        return Exit.OK
    print(f"{dotted(key.at)} = {toml(value)}")
    print(f"  written to {file}; a running agent takes it over {WORDS[when(dotted(key.at))]}")
    if overridden:
        print(f"  warning: {overridden} says otherwise, and wins")
    return Exit.OK


def write_key(
    path: Path, files: Mapping[Path, bytes], laid: Laid, at: KeyPath, value: object
) -> tuple[Path, Loaded]:
    """Write one key, if the whole configuration holds with it.

    Args:
        path: The first file.
        files: All files, as they were read.
        laid: The same, laid over one another.
        at: The key, in the joined configuration.
        value: Plain values.

    Returns:
        The file that was written, and the configuration as it is now.

    Raises:
        ConfigInvalid: It would not hold, or only a person can edit the file; nothing was written.
        ConfigUnwritable: The file cannot be written.
    """
    file, inner = _home(path, laid, at)
    raw = files[file]
    edited = with_key(raw.decode("utf-8-sig"), inner, value, str(file)).encode()
    edited = BOM_UTF8 + edited if raw.startswith(BOM_UTF8) else edited
    loaded = load(path, os.environ, {**files, file: edited})
    replace_file(file, edited)
    return file, loaded


def _value(key: Key, named: str, text: str) -> object:
    if key.field is None:
        problem = f"{named} is a table: name one of its keys"
        raise ValueError(problem)
    try:
        return value_of(key.field, text)
    except ValueError as error:
        problem = f"{named}: {error}"
        raise ValueError(problem) from error


def _ids(laid: Laid) -> list[str]:
    models = laid.data.get("models")
    entries = cast("list[object]", models) if isinstance(models, list) else []
    return [
        str(cast("dict[str, object]", entry).get("id", "")) if isinstance(entry, dict) else ""
        for entry in entries
    ]


def _home(path: Path, laid: Laid, at: KeyPath) -> tuple[Path, KeyPath]:
    """The file in which a key is, or belongs, and its path in there."""
    match at:
        case (str(name), int(nth), *rest):
            spot = laid.written[name, nth]
            before = [laid.written[name, n].path for n in range(nth)]
            return Path(spot.path), (name, before.count(spot.path), *rest)
        case _:
            known = laid.written.get(at)
            return (Path(known.path) if known else path), at
