"""A provider's key: read where the operator keeps it, each time an engine starts.

It is never an argument of a command. The keychain's own tool is asked for the entry by its name
and answers on a pipe.
"""

import subprocess
import sys
from collections.abc import Mapping

from ...config.errors import SecretUnusable
from ...config.external import External
from ...config.secrets import Secret, checked, from_credential, from_file, from_variable

KEYCHAIN_TOOL = "/usr/bin/security"
KEYCHAIN_PATIENCE_S = 10.0

HEADERS: Mapping[str, str] = {
    "bearer": "Authorization",
    "x-api-key": "x-api-key",
    "api-key": "api-key",
}


def key_of(
    external: External,
    environ: Mapping[str, str],
    *,
    platform: str = sys.platform,
    tool: str = KEYCHAIN_TOOL,
) -> Secret | None:
    """Read the key from the one source that is named; blocks for the keychain.

    Args:
        external: Names the source, its path absolute.
        environ: The process's environment.
        platform: As ``sys.platform`` says it.
        tool: What asks the macOS keychain.

    Returns:
        ``None`` if no source is named: some servers want no key.

    Raises:
        SecretUnusable: The source is not there, cannot be read, lies open to other users, or
            holds nothing that could be a key.
    """
    if external.key_file is not None:
        found = from_file(external.key_file)
    elif external.key_env is not None:
        found = from_variable(external.key_env, environ)
    elif external.key_credential is not None:
        found = from_credential(external.key_credential, environ)
    elif external.key_keychain is not None:
        return _from_keychain(external.key_keychain, platform, tool)
    else:
        return None
    if found.secret is None:
        raise SecretUnusable(source=found.source, reason="it is not there")
    return found.secret


def shown(external: External, key: Secret | None) -> dict[str, str]:
    """The header that shows the key; for the wire and for nothing else."""
    if key is None:
        return {}
    scheme = external.shows_key_as
    text = key.reveal()
    return {HEADERS[scheme]: f"Bearer {text}" if scheme == "bearer" else text}


def _from_keychain(name: str, platform: str, tool: str) -> Secret:
    source = f"keychain entry {name!r}"
    if platform != "darwin":
        raise SecretUnusable(source=source, reason="only a Mac has a keychain")
    if name.startswith("-"):
        raise SecretUnusable(source=source, reason="its name cannot begin with a dash")
    try:
        asked = subprocess.run(  # noqa: S603 - the system's own tool, by its full path
            [tool, "find-generic-password", "-w", "-s", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=KEYCHAIN_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        raise SecretUnusable(source=source, reason="the keychain does not answer") from None
    except OSError as error:
        raise SecretUnusable(source=source, reason=error.strerror or "no tool") from None
    if asked.returncode != 0:
        raise SecretUnusable(source=source, reason="the keychain does not give it out")
    return checked(asked.stdout, source)
