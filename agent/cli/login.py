"""``poolhand login`` and ``poolhand logout``: the coordinator's token, stored and deleted.

It is typed at a terminal that does not show it, or comes through a pipe; never as an argument.
What ``login`` has stored is remembered in the state folder (where, not what): ``logout`` deletes
nothing else.
"""

import getpass
import json
import os
import sys
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path
from typing import cast

from ...config.edit import replace_file
from ...config.layers import lay, read_files
from ...config.load import Loaded, load
from ...config.paths import own_dir, state_dir
from ...config.secrets import MOST_BYTES, UNIT_CREDENTIAL, UNIT_TOKEN, Secret, checked
from ...config.settings import Coordinator
from .config_set import write_key
from .exits import Exit
from .places import add_config, config_of, home

TOKEN_NAME = "token"  # noqa: S105  # the name of a file
"""Where a token is stored, beside the configuration, if that names no place for it."""

KEYCHAIN_NAME = "poolhand"

RECORD = "login.json"
"""In the state folder: which places ``login`` has written to, and when."""

_PRIVATE = 0o600


def add_arguments(parser: ArgumentParser) -> None:
    """Take the configuration that says where the token belongs."""
    add_config(parser)
    if parser.prog.endswith("login"):
        words = "store it in the macOS keychain"
        parser.add_argument("--keychain", action="store_true", help=words)


def main(args: Namespace) -> int:
    """Store the token, or delete what was stored.

    Returns:
        0, or 1 if it is kept where only its owner can change it, or did not come from here.

    Raises:
        SecretUnusable: What was typed can be no token, or the keychain is not to be had.
        ConfigError: The configuration cannot be read or written.
    """
    loaded = load(config_of(args), os.environ)
    section = loaded.settings.coordinator
    elsewhere = _elsewhere(section, loaded.path)
    if elsewhere:
        print(f"poolhand: the token is in {elsewhere}: change it there", file=sys.stderr)
        return Exit.FAILURE
    return _logout(loaded) if args.verb == "logout" else _login(args, loaded)


def _login(args: Namespace, loaded: Loaded) -> int:
    section = loaded.settings.coordinator
    if args.keychain and section.token_file is not None:
        words = "coordinator.token_file names a file: take that key out first"
        print(f"poolhand: {words}", file=sys.stderr)
        return Exit.FAILURE
    secret = _asked_for()
    if args.keychain or section.token_keychain is not None:
        place = _into_keychain(loaded, secret)
    else:
        place = _into_file(loaded, secret)
    print(f"stored in {place}; a running agent takes it after a restart")
    return Exit.OK


def _logout(loaded: Loaded) -> int:
    section = loaded.settings.coordinator
    path = _file_of(loaded)
    name = section.token_keychain
    if name is None and path is None:
        print("nothing was stored: the configuration names no place")
        return Exit.OK
    place = f"keychain entry {name!r}" if name is not None else str(path)
    is_there = name is not None or (path is not None and path.exists())
    if is_there and _recorded().get(place) != _stamp(path):
        print(f"poolhand: login has not stored {place}: delete it yourself", file=sys.stderr)
        return Exit.FAILURE
    if name is not None:
        from ...config.keychain import out_of_keychain  # noqa: PLC0415  # on Macs alone

        is_there = out_of_keychain(name, os.environ)
    elif path is not None:
        path.unlink(missing_ok=True)
    print(f"deleted {place}" if is_there else f"nothing was stored: {place}")
    return Exit.OK


def _elsewhere(section: Coordinator, config: Path) -> str:
    """Where the token is that is not ours to write; empty if it is."""
    if section.token_env is not None:
        return f"environment variable {section.token_env}"
    name = section.token_credential
    if name is not None and not _is_unit_s(name, config):
        return f"the service manager's credential {name!r}"
    return ""


def _is_unit_s(credential: str, config: Path) -> bool:
    """Whether our own unit makes this credential of the file beside this configuration."""
    return credential == UNIT_CREDENTIAL and config.parent == UNIT_TOKEN.parent


def _file_of(loaded: Loaded) -> Path | None:
    section = loaded.settings.coordinator
    if section.token_credential is not None:
        return UNIT_TOKEN
    return Path(section.token_file) if section.token_file is not None else None


def _recorded() -> dict[str, object]:
    with suppress(OSError, ValueError):
        told: object = json.loads(_record().read_bytes())
        if isinstance(told, dict):
            return cast("dict[str, object]", told)
    return {}


def _remember(place: str, path: Path | None) -> None:
    told = {**_recorded(), place: _stamp(path)}
    _ = own_dir(_record().parent)
    replace_file(_record(), f"{json.dumps(told)}\n".encode(), mode=_PRIVATE)


def _stamp(path: Path | None) -> int:
    """When a file was last written to, in nanoseconds; a keychain tells no such thing."""
    return path.stat().st_mtime_ns if path is not None else 0


def _record() -> Path:
    return state_dir(sys.platform, os.environ, home()) / RECORD


def _asked_for() -> Secret:
    """The token, from a terminal without showing it, else the first line of the input."""
    if sys.stdin.isatty():
        typed = getpass.getpass("coordinator token (not shown): ")
        return checked(typed.encode(errors="surrogateescape"), "the terminal")
    return checked(sys.stdin.buffer.readline(MOST_BYTES + 3), "standard input")


def _into_file(loaded: Loaded, secret: Secret) -> str:
    named = _file_of(loaded)
    path = named or loaded.path.with_name(TOKEN_NAME)
    replace_file(path, f"{secret.reveal()}\n".encode(), mode=_PRIVATE)
    _remember(str(path), path)
    if named is None:
        _name(loaded, "token_file", TOKEN_NAME)
    return f"{path} (mode 0600)"


def _into_keychain(loaded: Loaded, secret: Secret) -> str:
    from ...config.keychain import into_keychain  # noqa: PLC0415  # on Macs alone

    named = loaded.settings.coordinator.token_keychain
    into_keychain(named or KEYCHAIN_NAME, secret, os.environ)
    _remember(f"keychain entry {named or KEYCHAIN_NAME!r}", None)
    if named is None:
        _name(loaded, "token_keychain", KEYCHAIN_NAME)
    return f"keychain entry {named or KEYCHAIN_NAME!r}"


def _name(loaded: Loaded, key: str, value: str) -> None:
    """Have the configuration say where the token is."""
    files = read_files(loaded.path)
    file, _ = write_key(loaded.path, files, lay(files), ("coordinator", key), value)
    print(f"coordinator.{key} = {value!r} was written to {file}")
