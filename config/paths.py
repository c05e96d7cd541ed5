"""Where configuration, state, weights and the control socket live on macOS and Linux.

Every answer is a function of the platform, the environment and the home folder, so both
sides of the control socket compute the same and a test needs no machine. What a service
manager says (``STATE_DIRECTORY`` and its kin) wins over a user's own folders; what our own
variables say (``POOLHAND_CONFIG``, ``POOLHAND_STATE_DIR``) wins over both.

Source:
    XDG Base Directory Specification 0.8; systemd.exec(5), "Environment variables set or
    propagated by the service manager"; Apple File System Programming Guide.
"""

import os
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from .errors import ConfigError

NAME = "poolhand"
CONFIG_NAME = "agent.toml"
SOCKET_NAME = "control.sock"
MACHINE_FILE = "machine.json"
"""Holds the machine's number, in the state folder."""

ORDERS_FILE = "orders.json"
"""Holds what the operator ordered, in the state folder: the agent writes it, verbs look into it."""

SCHEMA_FILE = Path(__file__).with_name("agent.schema.json")
"""The JSON Schema of a configuration; a copy of it lies beside one that ``config init`` wrote."""

SERVICE_STATE = Path("/var/lib/private/poolhand")
SERVICE_CACHE = Path("/var/cache/private/poolhand")
"""Where the system's service keeps what is its own; root alone may look there.

Source:
    systemd.exec(5), ``DynamicUser=``.
"""

_DARWIN = "darwin"
_PRIVATE = 0o700
_OTHERS_WRITE = 0o022


class StateUnusable(ConfigError):
    """The state folder cannot be this agent's own: ``state_unusable``."""

    code = "state_unusable"
    remedy = "Mend what is said of the folder, or name another with --state-dir."

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(f"state folder {path}: {reason}")


def config_file(
    platform: str,
    environ: Mapping[str, str],
    home: Path,
    is_file: Callable[[Path], bool] = os.path.isfile,
) -> Path:
    """The configuration file that is read when none is named.

    A user's own wins over the system's; where there is none, the user's own is the one to write.

    Args:
        platform: As ``sys.platform`` says it.
        environ: The process's environment.
        home: The user's home folder.
        is_file: Whether there is such a file.
    """
    if named := environ.get("POOLHAND_CONFIG"):
        return _absolute(named)
    if given := _from_service_manager(environ, "CONFIGURATION_DIRECTORY"):
        return given / CONFIG_NAME
    named = environ.get("XDG_CONFIG_HOME", "")
    # the specification: a relative path is invalid and has to be ignored
    folders = [(Path(named) if named.startswith("/") else home / ".config") / NAME]
    folders += [_apple(home), _apple(Path("/"))] if platform == _DARWIN else [Path("/etc") / NAME]
    files = [folder / CONFIG_NAME for folder in folders]
    return next(filter(is_file, files), files[0])


def state_dir(platform: str, environ: Mapping[str, str], home: Path) -> Path:
    """The folder of the key pair, the ledger and the control socket."""
    if named := environ.get("POOLHAND_STATE_DIR"):
        return _absolute(named)
    if given := _from_service_manager(environ, "STATE_DIRECTORY"):
        return given
    return _user_dir(platform, environ, home, "XDG_STATE_HOME", ".local/state")


def cache_dir(platform: str, environ: Mapping[str, str], home: Path) -> Path:
    """The folder of the weights, unless ``cache.dir`` names another."""
    if given := _from_service_manager(environ, "CACHE_DIRECTORY"):
        return given
    if platform == _DARWIN:
        return home / "Library" / "Caches" / NAME
    return _user_dir(platform, environ, home, "XDG_CACHE_HOME", ".cache")


def control_socket(state_dir: Path, platform: str = sys.platform) -> Path:
    """The socket on which the agent with this state folder answers.

    It lies in the state folder. A path that is too long for the kernel is replaced by a
    short one, made of a digest of the folder alone: a daemon and a shell rarely agree on
    ``TMPDIR`` or ``XDG_RUNTIME_DIR``, and both have to come to the same place.

    Source:
        ``sun_path`` holds 104 bytes on macOS and 108 on Linux, the closing NUL among them.
    """
    folder = os.path.realpath(state_dir)
    most_bytes = (104 if platform == _DARWIN else 108) - 1
    path = Path(folder) / SOCKET_NAME
    if len(os.fsencode(path)) <= most_bytes:
        return path
    from hashlib import sha256  # noqa: PLC0415  # few folders have so long a name

    digest = sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path("/tmp") / f"{NAME}-{digest}" / SOCKET_NAME  # noqa: S108  # own_dir() checks it


def own_dir(path: Path) -> Path:
    """Make the folder, private, or check that nobody else can write into it.

    A folder that is there may be looked into by others, as those of a service manager are:
    what has to be kept from them has a mode of its own.

    Raises:
        StateUnusable: It cannot be made, is no folder, or others own it or may write to it.
    """
    try:
        path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        facts = path.stat()  # systemd makes a DynamicUser's folder a link to the real one
    except FileExistsError as error:
        raise StateUnusable(path=str(path), reason="it is no folder") from error
    except OSError as error:
        raise StateUnusable(path=str(path), reason=error.strerror or "no folder") from error
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        raise StateUnusable(path=str(path), reason="it is no folder of this user's own")
    if facts.st_mode & _OTHERS_WRITE:
        raise StateUnusable(path=str(path), reason=f"others may write to it: chmod 700 {path}")
    return path


def _apple(home: Path) -> Path:
    return home / "Library" / "Application Support" / NAME


def _user_dir(
    platform: str, environ: Mapping[str, str], home: Path, variable: str, default: str
) -> Path:
    if platform == _DARWIN:
        return _apple(home)
    named = environ.get(variable, "")
    # the specification: a relative path is invalid and has to be ignored
    return (Path(named) if named.startswith("/") else home / default) / NAME


def _from_service_manager(environ: Mapping[str, str], variable: str) -> Path | None:
    first = environ.get(variable, "").split(":")[0]
    return Path(first) if first.startswith("/") else None


def _absolute(named: str) -> Path:
    return Path(os.path.abspath(Path(named).expanduser()))  # noqa: PTH100  # keeps symlinks
