"""Checks of the agent itself: its folder, its socket, whether it runs, whether it serves."""

import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from ... import __version__
from ...config.paths import MACHINE_FILE, StateUnusable, control_socket, own_dir
from ..core.schedule import Phase, moment
from .checks_told import Finding, Ground, fail, failed_by, ok, skipped, warn
from .render import items, plain, span, table

ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "state.folder": "the state folder is the agent's own and can be written to",
        "state.identity": "the machine's number can be read, and written by nobody else",
        "control.socket": "the control socket is there, is a socket, and is private",
        "agent.running": "an agent answers at it",
        "agent.version": "that agent and this command are of the same version",
        "agent.serving": "it serves; if not, what is first in its way",
        "agent.log": "what it writes down goes somewhere that takes it",
    }
)
HOURS: Mapping[str, str] = MappingProxyType(
    {"agent.hours": "this moment lies within `hours.windows`; for whom the machine steps aside"}
)
_OTHERS, _OTHERS_WRITE = 0o077, 0o022
_IN_TIME = frozenset(
    {
        "line_connecting",
        "model_coming",
        "no_model_loaded",
        "node_drained",
        "node_draining",
        "outside_hours",
        "owner_active",
    }
)
"""Why a healthy node may not serve just now: nothing is broken."""


def look(ground: Ground) -> Iterator[Finding]:
    """Look at the agent's own folder, and ask it if it runs."""
    yield _folder(ground)
    yield _identity(ground)
    yield _socket(ground)
    yield _running(ground)
    yield _version(ground)
    yield _serving(ground)
    yield _log(ground)


def hours(ground: Ground) -> Iterator[Finding]:
    """Hold the clock on the wall to the hours."""
    section, signs = ground.settings.hours, ground.settings.owner.yield_to
    aside = f"; it steps aside for: {', '.join(signs)}" if signs else ""
    if not section.windows:
        yield ok("agent.hours", f"no hours are set: always{aside}")
        return
    now = moment(section, section.zone, time.time())
    phase = now.phase
    turns = ""
    if now.turns_s < time.time() + 366 * 86400:
        turns = f" until {datetime.fromtimestamp(now.turns_s, section.zone):%a %H:%M}"
    if phase is Phase.OPEN:
        yield ok("agent.hours", f"within its hours{turns}{aside}")
        return
    yield warn("agent.hours", f"its hours say {phase}{turns}", "Wait, or change hours.windows.")


def _folder(ground: Ground) -> Finding:
    path = ground.state_dir
    if not path.exists():
        above = nearest(path)
        if os.access(above, os.W_OK | os.X_OK):
            return ok("state.folder", f"{path} is made at the first start")
        cause = f"{path} is not there, and {above} does not let this user make it"
        return fail("state.folder", cause, "Name another with --state-dir, or mend its folder.")
    facts = path.stat()
    if os.geteuid() == 0 and facts.st_uid != 0 and not facts.st_mode & _OTHERS_WRITE:
        # root looks at a service's folder: it has to be that user's own, not ours
        return ok("state.folder", f"{path} belongs to user {facts.st_uid}, and nobody else writes")
    try:
        _ = own_dir(path)
    except StateUnusable as error:
        return failed_by("state.folder", error)
    if not os.access(path, os.W_OK | os.X_OK):
        remedy = "Look at its mode and its disk."
        return fail("state.folder", f"{path} cannot be written to", remedy)
    return ok("state.folder", f"{path} is this user's own")


def _identity(ground: Ground) -> Finding:
    path = ground.state_dir / MACHINE_FILE
    try:
        known = table(json.loads(path.read_text())).get("machine_id")
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return skipped("state.identity", "the machine's number is made at the first start")
    except OSError as error:
        return fail("state.identity", f"{path}: {error.strerror}", "Look at its mode and owner.")
    except ValueError:
        known, mode = None, 0o600
    if not isinstance(known, str) or not known:
        cause = f"{path} holds no number: the next start sets it aside and makes a new one"
        return warn("state.identity", cause, "Restore it from a backup to stay the same machine.")
    if mode & _OTHERS_WRITE:
        cause = f"others may write to {path} (mode {mode:04o})"
        return warn("state.identity", cause, f"Say `chmod 600 {path}`.")
    return ok("state.identity", f"{path} holds the machine's number")


def _socket(ground: Ground) -> Finding:
    path = control_socket(ground.state_dir)
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        return skipped("control.socket", f"there is none at {path}: {error.strerror}")
    if not stat.S_ISSOCK(mode):
        return fail("control.socket", f"{path} is no socket", f"Delete {path}.")
    if mode & _OTHERS and path.parent.stat().st_mode & _OTHERS:
        cause = f"others may speak to {path} (mode {stat.S_IMODE(mode):04o})"
        return fail("control.socket", cause, "Restart the agent; look who changed it.")
    if not ground.runs:
        cause = f"{path} is there, and nobody answers"
        return warn("control.socket", cause, "Nothing: the next start replaces it.")
    return ok("control.socket", f"{path} answers, and is private")


def _running(ground: Ground) -> Finding:
    if not ground.runs:
        cause = "no agent answers for this state folder"
        remedy = "Say `poolhand service start` or `poolhand run`, or name its --state-dir."
        return warn("agent.running", cause, remedy)
    uptime_s = table(ground.status.get("node")).get("uptime_s")
    since = f" for {span(uptime_s)}" if isinstance(uptime_s, int | float) else ""
    return ok("agent.running", f"process {ground.pid} runs{since}")


def _version(ground: Ground) -> Finding:
    if not ground.runs:
        return skipped("agent.version", "no agent runs")
    theirs = plain(table(ground.status.get("node")).get("version"))
    if theirs != __version__:
        cause = f"the agent is {theirs}, this command {__version__}"
        return warn("agent.version", cause, "Restart the agent when it suits you.")
    return ok("agent.version", f"both are {theirs}")


def _serving(ground: Ground) -> Finding:
    if not ground.runs:
        return skipped("agent.serving", "no agent runs")
    if ground.status.get("serving") is True:
        return ok("agent.serving", "it serves")
    reasons = [table(one) for one in items(ground.status.get("why_not"))]
    causes = "; ".join(plain(one.get("words") or one.get("code")) for one in reasons)
    remedy = next((plain(one["remedy"]) for one in reasons if one.get("remedy")), "Wait.")
    is_sound = all(one.get("code") in _IN_TIME for one in reasons)
    told = warn if reasons and is_sound else fail
    return told("agent.serving", causes or "it does not serve, and gives no reason", remedy)


def _log(ground: Ground) -> Finding:
    said = table(table(ground.status.get("node")).get("log"))
    path = said.get("path")
    if not ground.runs:
        return skipped("agent.log", "no agent runs, so nothing is open")
    if said.get("kind") != "file" or not isinstance(path, str):
        return ok("agent.log", f"it writes to: {plain(said.get('kind'))}")
    if not Path(path).is_file():
        cause = f"{plain(path)} was taken away under the agent: its lines are lost"
        return warn("agent.log", cause, "Restart the agent; rotate by copying and truncating.")
    disk = os.statvfs(path)
    if disk.f_bavail * disk.f_frsize < 2**20:
        return fail("agent.log", f"the disk of {plain(path)} is full", "Free disk space.")
    return ok("agent.log", f"it writes to {plain(path)}")


def nearest(path: Path) -> Path:
    """The folder itself, or the nearest above it that is there."""
    return next((one for one in (path, *path.parents) if one.exists()), Path("/"))
