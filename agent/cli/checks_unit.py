"""Checks of the service: is one installed, and does its file say what ours would?"""

import os
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from .checks_told import Finding, Ground, fail, ok, skipped, warn
from .supervisors import Systemd
from .units_place import Place, SupervisorFailed, place_of

ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "service.installed": "systemd or launchd starts the agent, and starts it again",
        "service.drift": "its file says what `poolhand service install` would write now",
        "service.config": "it reads the very configuration that was looked at",
    }
)


def look(ground: Ground) -> Iterator[Finding]:
    """Look for the user's service, then for the system's."""
    try:
        places = [_place(ground, scope) for scope in ("user", "system")]
    except SupervisorFailed as error:
        for check in ABOUT:
            yield skipped(check, str(error))
        return
    place = next((one for one in places if one.file.exists()), None)
    if place is None:
        cause = "no service is installed: nothing starts the agent again"
        yield warn("service.installed", cause, "Say `poolhand service install`.")
        yield skipped("service.drift", "no service is installed")
        yield skipped("service.config", "no service is installed")
        return
    yield _installed(place)
    try:
        text = place.file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        yield fail("service.drift", f"{place.file}: {error}", "Look at its mode.")
        yield skipped("service.config", "its file cannot be read")
        return
    yield _drift(place, text)
    yield _config(ground, text, place.file)


def _installed(place: Place) -> Finding:
    """Whether it is there, and whether anything starts it."""
    if isinstance(place.job, Systemd):
        # where `systemctl enable` puts its links, and a package's own file alone has none
        wants = place.job.path.parent.glob("*.wants")
        if not any(os.path.lexists(folder / place.job.name) for folder in wants):
            cause = f"{place.file} is there and not enabled: nothing starts it with the machine"
            return warn("service.installed", cause, "Say `poolhand service install`.")
    return ok("service.installed", f"{place.file}")


def _place(ground: Ground, scope: str) -> Place:
    words: dict[str, object] = {
        "action": "status",
        "scope": scope,
        "root": ground.root,
        "gpu": None,
        "run_as": None,
        "config": ground.config,
    }
    return place_of(Namespace(**words), ground.platform)


def _drift(place: Place, text: str) -> Finding:
    if place.vendor is not None and place.file == place.vendor:
        return ok("service.drift", "it is the package's own")
    if _said(text) == _said(place.text):
        return ok("service.drift", "it says what this version would write")
    cause = f"{place.file} is not what this version would write"
    remedy = "See `poolhand service install --dry-run`; without --dry-run it is replaced."
    return warn("service.drift", cause, remedy)


def _said(text: str) -> list[str]:
    """What counts in a unit: neither comments nor blank lines, nor the command's own words."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and line[0] not in "#;" and "ExecStart=" not in line]


def _config(ground: Ground, text: str, file: Path) -> Finding:
    if str(ground.config) in text or "--config" not in text:
        return ok("service.config", f"it reads {ground.config}, or its usual one")
    cause = f"{file} starts the agent with another configuration than {ground.config}"
    return warn("service.config", cause, "Name that one with --config, or install it again.")
