"""Who this process is: its keys, its machine's number, and what is true of it.

Both keys are made at start and live in memory only: nothing survives a line anyway. The
machine's number is a random value, made once in the state folder; it is no hardware serial.
"""

import json
import os
import resource
import secrets
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from ... import __version__
from ...backends.engines.catalog import shelter
from ...config.atomic import write_atomically
from ...config.paths import MACHINE_FILE, StateUnusable
from ...config.secrets import Secret
from ...config.settings import Settings
from ..core.report import Identity
from ..wire.sealing import SECRET_BYTES, NodeKey, sign_challenge
from ..wire.types import PrivacyCapabilities

_INJECTING = frozenset(
    {"LD_AUDIT", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP"}
)
"""What makes a loader or Python run code from somewhere else. Source: ld.so(8), python(1)."""


def identify(
    state_dir: Path, token: Secret | None, settings: Settings, *, is_hidden: bool
) -> tuple[Identity, NodeKey]:
    """Make this process's keys and find the machine's number.

    Args:
        state_dir: This agent's own folder.
        token: Ties the node to an account.
        settings: Those in force.
        is_hidden: Whether debuggers are kept out of this process.

    Returns:
        Who we are, and the key that opens requests; only the relay gets the latter.

    Raises:
        StateUnusable: The state folder cannot be read or written.
    """
    key = NodeKey(os.urandom(SECRET_BYTES))
    identity = Identity(
        version=__version__,
        public_key=key.public_key,
        machine_id=machine_id(state_dir),
        privacy=privacy(settings, os.environ, is_hidden=is_hidden),
        sign=partial(sign_challenge, os.urandom(SECRET_BYTES)),
        token=None if token is None else SecretStr(token.reveal()),
    )
    return identity, key


def machine_id(state_dir: Path) -> str:
    """The machine's number, made on the first call.

    A file that cannot be understood is set aside, and a new number is made: the number
    only spreads a fleet over pools, so a new one is better than none.

    Raises:
        StateUnusable: The state folder cannot be read or written.
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
        said = json.dumps({"machine_id": made}) + "\n"
        write_atomically(path, said.encode(), mode=0o600)
    except OSError as error:
        raise StateUnusable(path=str(path), reason=error.strerror or str(error)) from error
    return made


def forbid_core_dumps() -> None:
    """Let neither this process nor its children leave their memory on a disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def privacy(
    settings: Settings, environ: Mapping[str, str], *, is_hidden: bool
) -> PrivacyCapabilities:
    """What is so about the processes that serve.

    An engine's child has an environment built from nothing, and nothing stands between this
    process and it but a socket pair. Requests are opened here whatever the engine, so this
    process's own environment counts too.

    Args:
        settings: Those in force; they say where engines run.
        environ: This process's environment, as it was started with.
        is_hidden: Whether debuggers are kept out of this process; a child sees to it itself.
    """
    shelters = [shelter(entry, settings) for entry in settings.claimed]
    return PrivacyCapabilities(
        # a node that offers no model has nowhere to handle text
        text_backend_inprocess=bool(shelters) and all(its.is_inprocess for its in shelters),
        # what a provider is asked leaves this machine
        text_proxy_disabled=all(entry.external is None for entry in settings.models),
        anti_debug_enabled=is_hidden and all(its.is_hidden for its in shelters),
        core_dumps_disabled=resource.getrlimit(resource.RLIMIT_CORE) == (0, 0),
        env_scrubbed=not any(map(_injects_code, environ)),
    )


def _injects_code(variable: str) -> bool:
    return variable in _INJECTING or variable.startswith("DYLD_")
