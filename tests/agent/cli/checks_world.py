"""A ground for the doctor's checks: a configuration, a state folder, a machine, all in a folder."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from poolhand.agent.cli.checks_told import Finding, Ground, Verdict
from poolhand.backends.hosts.tools import Command
from poolhand.config.errors import ConfigError
from poolhand.config.load import load

PLAIN = '[coordinator]\nurl = "ws://127.0.0.1:1"\n'
RUNNING: Mapping[str, object] = {
    "serving": True,
    "node": {"pid": 2**22 + 1, "version": "0", "uptime_s": 9.0, "log": {"kind": "terminal"}},
}


def nothing_said(_: Command) -> None:
    """A machine without any of the system's tools."""


def ground(
    folder: Path,
    text: str = PLAIN,
    *,
    environ: Mapping[str, str] | None = None,
    status: Mapping[str, object] | None = None,
    platform: str = "linux",
    readings: Callable[[Command], str | None] = nothing_said,
) -> Ground:
    """What the checks look at, with ``folder/root`` for the machine."""
    folder.mkdir(exist_ok=True)
    config, root = folder / "agent.toml", folder / "root"
    root.mkdir(exist_ok=True)
    if text:
        config.write_text(text)
    loaded, refused = None, None
    try:
        loaded = load(config, environ or {})
    except ConfigError as error:
        refused = error
    return Ground(
        platform=platform,
        environ=environ or {},
        home=folder,
        config=config,
        state_dir=folder / "state",
        loaded=loaded,
        refused=refused,
        status=status or {},
        root=root,
        readings=readings,
    )


def by_id(found: Iterable[Finding], subject: str = "") -> dict[str, Finding]:
    """Findings by their ids; of those about several things, the one with this subject."""
    told: dict[str, Finding] = {}
    for one in found:
        if one.id not in told or one.subject == subject:
            told[one.id] = one
    return told


def verdicts(found: Iterable[Finding]) -> dict[str, str]:
    """Only how they came out."""
    for one in (found := list(found)):
        # whoever is told of something has to be told what helps, and why nothing was looked at
        assert one.cause
        assert bool(one.remedy) == (one.verdict in {Verdict.WARN, Verdict.FAIL}), one
    return {one.id: one.verdict.value for one in found}
