"""``poolhand config check | show | get``: what the files say; nothing is started."""

import json
import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import cast

from ...config.errors import ConfigError, ConfigInvalid
from ...config.keys import NoSuchKey, key_of
from ...config.load import Loaded, load
from ...config.problems import dotted
from ...config.secrets import FoundToken, coordinator_token
from ...config.told import Json, flat, toml
from .exits import Exit
from .places import config_of
from .render import plain


def config_check(args: Namespace) -> int:
    """Say every problem of the files, of the environment and of the token's source.

    Returns:
        0, or 78 if an agent would not start with it.
    """
    path = config_of(args)
    problems: list[str] = []
    warnings: list[str] = []
    remedy = ""
    try:
        loaded = load(path, os.environ)
        found = coordinator_token(loaded.settings.coordinator, os.environ)
        warnings += [found.warning] if found.warning else []
        warnings += _doubts(loaded)
    except ConfigError as error:
        problems += [str(error), *(error.others if isinstance(error, ConfigInvalid) else ())]
        remedy = error.remedy
    if args.json:
        report = {"ok": not problems, "path": str(path), "problems": problems, "warnings": warnings}
        print(json.dumps(report))
    else:
        for line in [*problems, *(f"warning: {text}" for text in warnings)]:
            print(line)
        print(f"  {remedy}" if problems else f"{path}: good")
    return Exit.CONFIG if problems else Exit.OK


def config_show(args: Namespace) -> int:
    """Print every key that is set, or every key, each with its value and where that is from."""
    loaded = load(config_of(args), os.environ)
    values = {
        key: value
        for key, value in flat(loaded.settings).items()
        if args.effective or _kind(loaded, key) != "default"
    }
    token = _token(loaded)
    if args.json:
        told = {
            key: {"value": value, "kind": _kind(loaded, key), "origin": _origin(loaded, key)}
            for key, value in values.items()
        }
        files = [str(one) for one in loaded.files]
        print(
            json.dumps({"path": str(loaded.path), "files": files, "values": told, "token": token})
        )
        return Exit.OK
    for key, value in values.items():
        said = f"{key} = {'unset' if value is None else toml(value)}"
        print(plain(f"{said:<48}  # {_origin(loaded, key)}"))
    print(plain(f"# token: {token['source']}: {token['state']}"))
    return Exit.OK


def config_get(args: Namespace) -> int:
    """Print one value: text as it is, anything else as TOML; a table as lines of keys.

    Returns:
        0, or 2 if there is no such key.
    """
    loaded = load(config_of(args), os.environ)
    named = cast("str", args.key)
    values = flat(loaded.settings)
    try:
        key = dotted(key_of(named, [entry.id for entry in loaded.settings.models]).at)
    except NoSuchKey as error:
        print(f"poolhand: {error}", file=sys.stderr)
        return Exit.USAGE
    below = {
        name: value
        for name, value in values.items()
        if name == key or name.startswith((f"{key}.", f"{key}["))
    }
    if args.json:
        print(json.dumps(below.get(key, below)))
    elif key in below:
        _print_value(below[key])
    else:
        for name, value in below.items():
            print(plain(f"{name} = {'unset' if value is None else toml(value)}"))
    return Exit.OK


def _print_value(value: Json) -> None:
    if value is not None:
        print(plain(value) if isinstance(value, str) else toml(value))


def _kind(loaded: Loaded, key: str) -> str:
    origin = loaded.origins.get(key)
    return "default" if origin is None else origin.kind


def _origin(loaded: Loaded, key: str) -> str:
    origin = loaded.origins.get(key)
    return "default" if origin is None else str(origin)


def _token(loaded: Loaded) -> Mapping[str, str]:
    """Where the token is looked for, and whether it is there; nothing of the token itself."""
    try:
        found = coordinator_token(loaded.settings.coordinator, os.environ)
    except ConfigError as error:
        return {"source": "unusable", "state": str(error)}
    return {"source": found.source, "state": _state(found)}


def _state(found: FoundToken) -> str:
    return "not there" if found.secret is None else "there"


def _doubts(loaded: Loaded) -> list[str]:
    """What an agent would start with, and a person hardly meant."""
    url = loaded.settings.coordinator.url
    host = url.partition("://")[2].partition("/")[0].partition(":")[0]
    place = loaded.origins["coordinator.url"]
    if host.endswith(".example"):
        return [f"{place}: coordinator.url is still the example: nobody answers there"]
    return []
