"""Which file and which folder a verb means, from its arguments and the environment."""

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import cast

from ...config.paths import (
    SERVICE_CACHE,
    SERVICE_STATE,
    cache_dir,
    config_file,
    control_socket,
    state_dir,
)


def add_config(parser: ArgumentParser) -> None:
    """Take ``--config FILE``."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="the configuration (default: $POOLHAND_CONFIG, else the user's agent.toml)",
    )


def add_state_dir(parser: ArgumentParser) -> None:
    """Take ``--state-dir DIR``."""
    parser.add_argument(
        "--state-dir",
        metavar="DIR",
        type=Path,
        help="the agent's own folder (default: $POOLHAND_STATE_DIR, else the user's;"
        " for root, the service's if that runs)",
    )


def config_of(args: Namespace) -> Path:
    """The configuration file, absolute."""
    named = cast("Path | None", args.config)
    return _absolute(named or config_file(sys.platform, os.environ, home()))


def own_state_of(args: Namespace) -> Path:
    """The state folder of an agent that is started with these arguments, absolute."""
    named = cast("Path | None", args.state_dir)
    return _absolute(named or state_dir(sys.platform, os.environ, home()))


def state_of(args: Namespace, service: Path = SERVICE_STATE) -> Path:
    """The state folder of the agent that is asked, absolute.

    Where none is named and this user's own agent does not run, the system's service is meant, if
    it runs and this user may look: root does not have to say where systemd put it.

    Args:
        args: The verb's arguments.
        service: Where that service keeps its state.
    """
    own = own_state_of(args)
    is_named = args.state_dir or os.environ.get("POOLHAND_STATE_DIR")
    if is_named or _answers(own) or not _answers(service):
        return own
    return service


def cache_of(args: Namespace) -> Path:
    """The cache folder of that agent, if its configuration names none."""
    if state_of(args) == SERVICE_STATE:
        return SERVICE_CACHE
    return cache_dir(sys.platform, os.environ, home())


def socket_of(args: Namespace) -> Path:
    """The control socket of the agent with that state folder."""
    return control_socket(state_of(args))


def _answers(state: Path) -> bool:
    # os.path: a folder that may not be looked into is as good as none
    return os.path.exists(control_socket(state))  # noqa: PTH110  # see above


def home() -> Path:
    """The user's home folder, or where it would be."""
    # Path.home() raises for a user that has none; a service need not have one
    return Path(os.path.expanduser("~"))  # noqa: PTH111  # see above


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111  # keeps links
