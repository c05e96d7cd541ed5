"""What a check of ``poolhand doctor`` finds, and what all checks look at."""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from pathlib import Path

from ...backends.hosts.tools import Readings, run_tool
from ...config.errors import AgentError, ConfigError
from ...config.frozen import frozen
from ...config.load import Loaded
from ...config.settings import Settings
from .render import table


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    """It works, or may; somebody should know."""

    FAIL = "fail"
    """It keeps this machine from serving, or will."""

    SKIPPED = "skipped"
    """There was nothing to look at here; the cause says why."""


@frozen
class Finding:
    """What one check found.

    Attributes:
        id: Stable, for programs; ``room.thing``.
        cause: What was seen, and why that is judged so: one sentence, no secret in it.
        remedy: What helps; empty where nothing has to.
        subject: Which model, bucket or file it is about; empty: the whole machine.
        is_config: Whether a start would end with the configuration's exit code for it.
    """

    id: str
    verdict: Verdict
    cause: str
    remedy: str = ""
    subject: str = ""
    is_config: bool = False


def ok(check: str, cause: str, subject: str = "") -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, cause, subject=subject)


def warn(check: str, cause: str, remedy: str, subject: str = "") -> Finding:
    """Somebody should know."""
    return Finding(check, Verdict.WARN, cause, remedy, subject)


def fail(check: str, cause: str, remedy: str, subject: str = "") -> Finding:
    """It does not work."""
    return Finding(check, Verdict.FAIL, cause, remedy, subject)


def skipped(check: str, why: str, subject: str = "") -> Finding:
    """There was nothing to look at."""
    return Finding(check, Verdict.SKIPPED, why, subject=subject)


def failed_by(check: str, error: AgentError, subject: str = "") -> Finding:
    """The daemon's own function refused; its words and its remedy are the finding's."""
    is_config = isinstance(error, ConfigError)
    return Finding(check, Verdict.FAIL, str(error), error.remedy, subject, is_config)


@frozen
class Ground:
    """What all checks look at.

    Attributes:
        platform: As ``sys.platform`` says it.
        environ: The process's environment.
        home: The user's home folder.
        config: The first file of the configuration, absolute.
        state_dir: The agent's own folder, absolute.
        loaded: The configuration; ``None`` if it cannot be used.
        refused: Why it cannot.
        status: What the running agent says of itself; empty if none runs.
        root: Where ``/proc``, ``/sys`` and ``/etc`` are found; only tests name another.
        readings: Runs the system's own tools.
    """

    platform: str
    environ: Mapping[str, str] = field(repr=False)
    home: Path
    config: Path
    state_dir: Path
    loaded: Loaded | None = None
    refused: ConfigError | None = None
    status: Mapping[str, object] = field(default_factory=dict[str, object])
    root: Path = Path("/")
    readings: Readings = run_tool

    @property
    def settings(self) -> Settings:
        """The settings; asked for only by checks that are not made without.

        Raises:
            RuntimeError: There are none: a bug.
        """
        if self.loaded is None:
            message = "this check needs a configuration"
            raise RuntimeError(message)
        return self.loaded.settings

    @property
    def runs(self) -> bool:
        """Whether an agent answers."""
        return bool(self.status)

    @property
    def pid(self) -> int | None:
        """The running agent's process."""
        number = table(self.status.get("node")).get("pid")
        return number if isinstance(number, int) else None
