"""Which service a ``poolhand service`` verb means: whose manager, which file, which text."""

import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from ...config.errors import AgentError, Retry
from ...config.frozen import frozen
from ...config.paths import CONFIG_NAME, NAME
from .places import config_of, home
from .supervisors import LABEL, Launchd, Supervisor, Systemd, plist_text, unit_text, unreachable

USUAL, BOARDS = "poolhand.service", "poolhand-gpu.service"
"""Units of systemd: without devices, and with NVIDIA's."""

UNITS = Path(__file__).parents[2] / "packaging" / "units"
"""The files of services, as they were shipped."""

NVIDIA = Path("/proc/driver/nvidia/version")
"""There while NVIDIA's driver is loaded."""

HIDDEN = (Path("/home"), Path("/root"), Path("/run/user"))
"""What ``ProtectHome=yes`` hides.

Source:
    systemd.exec(5).
"""


class SupervisorFailed(AgentError):
    """The service manager is not there, or refused: ``supervisor_failed``."""

    code = "supervisor_failed"
    retry = Retry.OPERATOR
    status = 500
    remedy = (
        "`poolhand service install --dry-run` shows what would be written, "
        "`poolhand service logs` what the service said."
    )

    def __init__(self, *, command: str, reason: str) -> None:
        super().__init__(f"{command}: {reason}")


@frozen
class Place:
    """One service on one machine.

    Attributes:
        job: Its manager's commands.
        text: What its file says, if it is installed now.
        config: The configuration that it reads.
        vendor: A package's own file of the same name; with it, nothing is written.
        log_dir: A folder that has to be there first.
    """

    job: Supervisor
    text: str
    config: Path
    vendor: Path | None = None
    log_dir: Path | None = None

    @property
    def file(self) -> Path:
        """The file that says what runs."""
        has_own = self.vendor is None or self.job.path.exists()
        return self.job.path if has_own or self.vendor is None else self.vendor


def place_of(args: Namespace, platform: str) -> Place:
    """The service that these arguments mean, on this machine.

    Args:
        args: What ``poolhand service`` took.
        platform: As ``sys.platform`` says it.

    Raises:
        SupervisorFailed: This kind of machine has none that we know, or its user could not
            start the program.
    """
    is_system = _is_system(args)
    if platform == "darwin":
        return _launchd(args, is_system=is_system)
    if platform == "linux":
        return _systemd(args, is_system=is_system)
    raise SupervisorFailed(command="service", reason=f"no service manager is known on {platform}")


def _is_system(args: Namespace) -> bool:
    scope = cast("str | None", args.scope)
    return scope == "system" if scope else os.geteuid() == 0


def _root(args: Namespace) -> Path:
    return cast("Path", args.root)


def _systemd(args: Namespace, *, is_system: bool) -> Place:
    root = _root(args)
    if not is_system:
        folder = _user_units(os.environ)
        config = config_of(args)
        command = (*program(), "run", "--config", str(config))
        job = Systemd(USUAL, folder / USUAL, is_user=True)
        return Place(job, unit_text(template("poolhand-user.service"), command), config)
    folder, shipped = root / "etc/systemd/system", root / "usr/lib/systemd/system"
    name = _unit(args, folder)
    config = config_of(args) if args.config else Path("/etc") / NAME / CONFIG_NAME
    command = (*program(), "run", "--config", str(config))
    vendor = shipped / name if (shipped / name).exists() else None
    rival = next((one for one in _enabled(folder) if one != name), "")
    job = Systemd(name, folder / name, is_user=False, rival=rival)
    return Place(job, unit_text(template(name), command), config, vendor)


def _launchd(args: Namespace, *, is_system: bool) -> Place:
    root = _root(args)
    source = template("poolhand.plist").encode()
    if not is_system:
        config, logs = config_of(args), home() / "Library" / "Logs" / NAME
        command = (*program(), "run", "--config", str(config))
        path = home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        job = Launchd(LABEL, path, f"gui/{os.getuid()}", logs / f"{NAME}.log")
        return Place(job, plist_text(source, command, job.log), config, log_dir=logs)
    support = Path("/Library/Application Support") / NAME
    config = config_of(args) if args.config else support / CONFIG_NAME
    user = cast("str | None", args.run_as) or os.environ.get("SUDO_USER")
    if args.action == "install" and (not user or user == "root"):
        raise SupervisorFailed(command="a daemon", reason="name whose it is: --run-as USER")
    command = (*program(), "run", "--config", str(config))
    path = root / "Library/LaunchDaemons" / f"{LABEL}.plist"
    job = Launchd(LABEL, path, "system", Path("/Library/Logs") / f"{NAME}.log")
    return Place(job, plist_text(source, command, job.log, user), config)


def program() -> tuple[str, ...]:
    """How this very installation is started: its command, or its interpreter and module."""
    command = Path(sys.executable).parent / NAME
    if command.exists():
        return (str(command),)
    return (sys.executable, "-m", "poolhand.agent")


def refuse_hidden(place: Place) -> None:
    """Look whether a service of the system could open the program at all.

    Raises:
        SupervisorFailed: It lies in somebody's home.
    """
    if not isinstance(place.job, Systemd) or place.job.is_user:
        return
    real = (os.path.realpath(sys.executable), *program())
    lost = unreachable(real, HIDDEN)
    if lost is not None and place.vendor is None:
        reason = f"{lost} is hidden from it: install poolhand in /opt, or use --user"
        raise SupervisorFailed(command="a service of the system", reason=reason)


def template(name: str) -> str:
    """A file of ``packaging/units``, as it ships."""
    return (UNITS / name).read_text(encoding="utf-8")


def _unit(args: Namespace, folder: Path) -> str:
    """With boards or without: as asked for, else as installed, else as the machine is.

    Of a package's units both are there; the one that starts with the machine is meant.
    """
    asked = cast("bool | None", args.gpu)
    if asked is not None:
        return BOARDS if asked else USUAL
    installed = [name for name in (USUAL, BOARDS) if (folder / name).exists()]
    for found in (installed, _enabled(folder)):
        if len(found) == 1:
            return found[0]
    return BOARDS if NVIDIA.exists() else USUAL


def _enabled(folder: Path) -> list[str]:
    """Those of ours that start with the machine.

    Source:
        systemctl(1), ``enable``: links as ``[Install]`` says, ``WantedBy=multi-user.target``.
    """
    wants = folder / "multi-user.target.wants"
    return [name for name in (USUAL, BOARDS) if (wants / name).is_symlink()]


def _user_units(environ: Mapping[str, str]) -> Path:
    named = environ.get("XDG_CONFIG_HOME", "")
    base = Path(named) if named.startswith("/") else home() / ".config"
    return base / "systemd" / "user"
