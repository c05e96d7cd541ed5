"""Who this process is: its keys, its machine's number, and what is true of it.

Both keys are made at start and live in memory only: nothing survives a line anyway. The
machine's number is a random value, made once in the state folder; it is no hardware serial.
"""

import json
import os
import resource
import secrets
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from ... import __version__
from ...config.errors import ConfigUnreadable
from ...config.secrets import Secret
from ..core.report import Identity
from ..wire.sealing import SECRET_BYTES, NodeKey, sign_challenge
from ..wire.types import PrivacyCapabilities

MACHINE_FILE = "machine.json"


def identify(state_dir: Path, token: Secret | None) -> tuple[Identity, NodeKey]:
    """Make this process's keys and find the machine's number.

    Returns:
        Who we are, and the key that opens requests; only the relay gets the latter.

    Raises:
        ConfigUnreadable: The state folder cannot be read or written.
    """
    key = NodeKey(os.urandom(SECRET_BYTES))
    identity = Identity(
        version=__version__,
        public_key=key.public_key,
        machine_id=machine_id(state_dir),
        privacy=privacy(),
        sign=partial(sign_challenge, os.urandom(SECRET_BYTES)),
        token=None if token is None else SecretStr(token.reveal()),
    )
    return identity, key


def machine_id(state_dir: Path) -> str:
    """The machine's number, made on the first call.

    A file that cannot be understood is set aside, and a new number is made: the number
    only spreads a fleet over pools, so a new one is better than none.

    Raises:
        ConfigUnreadable: The state folder cannot be read or written.
    """
    path = state_dir / MACHINE_FILE
    try:
        try:
            known = json.loads(path.read_text())["machine_id"]
            if isinstance(known, str) and known:
                return known
            path.replace(path.with_suffix(".bad"))
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError):
            path.replace(path.with_suffix(".bad"))
        made = secrets.token_hex(16)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"machine_id": made}) + "\n")
        fresh.chmod(0o600)
        fresh.replace(path)
    except OSError as error:
        raise ConfigUnreadable(path=str(path), reason=error.strerror or str(error)) from error
    return made


def forbid_core_dumps() -> None:
    """Let neither this process nor its children leave their memory on a disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def privacy() -> PrivacyCapabilities:
    """What is so about the processes that serve.

    Engines run in child processes with an environment built from nothing, and nothing stands
    between this process and them but a socket pair. Debuggers are not kept away.
    """
    return PrivacyCapabilities(
        text_backend_inprocess=False,
        text_proxy_disabled=True,
        anti_debug_enabled=False,
        core_dumps_disabled=resource.getrlimit(resource.RLIMIT_CORE) == (0, 0),
        env_scrubbed=True,
    )
