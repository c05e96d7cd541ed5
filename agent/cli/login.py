"""``poolhand login`` and ``poolhand logout``: the coordinator's token, stored and deleted.

It is typed at a terminal that does not show it, or comes through a pipe; never as an argument.
"""

import getpass
import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ...config.edit import replace_file
from ...config.layers import lay, read_files
from ...config.load import Loaded, load
from ...config.secrets import MOST_BYTES, Secret, checked
from ...config.settings import Coordinator
from .config_set import write_key
from .exits import Exit
from .places import add_config, config_of

TOKEN_NAME = "token"  # noqa: S105  # the name of a file
"""Where a token is stored, beside the configuration, if that names no place for it."""

KEYCHAIN_NAME = "poolhand"

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
        0, or 1 if it is kept where only its owner can change it.

    Raises:
        SecretUnusable: What was typed can be no token, or the keychain is not to be had.
        ConfigError: The configuration cannot be read or written.
    """
    loaded = load(config_of(args), os.environ)
    section = loaded.settings.coordinator
    elsewhere = _elsewhere(section)
    if elsewhere:
        print(f"poolhand: the token is in {elsewhere}: change it there", file=sys.stderr)
        return Exit.FAILURE
    return _logout(section) if args.verb == "logout" else _login(args, loaded)


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


def _logout(section: Coordinator) -> int:
    if section.token_keychain is not None:
        from ...config.keychain import out_of_keychain  # noqa: PLC0415  # on Macs alone

        was_there = out_of_keychain(section.token_keychain, os.environ)
        place = f"keychain entry {section.token_keychain!r}"
    elif section.token_file is not None:
        path = Path(section.token_file)
        was_there, place = path.exists(), str(path)
        path.unlink(missing_ok=True)
    else:
        was_there, place = False, "no place that the configuration names"
    print(f"deleted {place}" if was_there else f"nothing was stored: {place}")
    return Exit.OK


def _elsewhere(section: Coordinator) -> str:
    """Where the token is that is not ours to write; empty if it is."""
    if section.token_env is not None:
        return f"environment variable {section.token_env}"
    if section.token_credential is not None:
        return f"the service manager's credential {section.token_credential!r}"
    return ""


def _asked_for() -> Secret:
    """The token, from a terminal without showing it, else the first line of the input."""
    if sys.stdin.isatty():
        typed = getpass.getpass("coordinator token (not shown): ")
        return checked(typed.encode(errors="surrogateescape"), "the terminal")
    return checked(sys.stdin.buffer.readline(MOST_BYTES + 3), "standard input")


def _into_file(loaded: Loaded, secret: Secret) -> str:
    named = loaded.settings.coordinator.token_file
    path = Path(named) if named else loaded.path.with_name(TOKEN_NAME)
    replace_file(path, f"{secret.reveal()}\n".encode(), mode=_PRIVATE)
    if named is None:
        _name(loaded, "token_file", TOKEN_NAME)
    return f"{path} (mode 0600)"


def _into_keychain(loaded: Loaded, secret: Secret) -> str:
    from ...config.keychain import into_keychain  # noqa: PLC0415  # on Macs alone

    named = loaded.settings.coordinator.token_keychain
    into_keychain(named or KEYCHAIN_NAME, secret, os.environ)
    if named is None:
        _name(loaded, "token_keychain", KEYCHAIN_NAME)
    return f"keychain entry {named or KEYCHAIN_NAME!r}"


def _name(loaded: Loaded, key: str, value: str) -> None:
    """Have the configuration say where the token is."""
    files = read_files(loaded.path)
    file, _ = write_key(loaded.path, files, lay(files), ("coordinator", key), value)
    print(f"coordinator.{key} = {value!r} was written to {file}")
