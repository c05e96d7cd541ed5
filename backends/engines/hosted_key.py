"""A provider's key: read where the operator keeps it, each time an engine starts."""

from collections.abc import Mapping

from ...config.errors import SecretUnusable
from ...config.external import External
from ...config.keychain import from_keychain
from ...config.secrets import Secret, from_credential, from_file, from_variable

HEADERS: Mapping[str, str] = {
    "bearer": "Authorization",
    "x-api-key": "x-api-key",
    "api-key": "api-key",
}


def key_of(external: External, environ: Mapping[str, str]) -> Secret | None:
    """Read the key from the one source that is named; blocks for the keychain.

    Args:
        external: Names the source, its path absolute.
        environ: The process's environment.

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
        found = from_keychain(external.key_keychain, environ)
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
