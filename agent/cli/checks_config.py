"""Checks of what the operator wrote: the configuration's files, and the token."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from ...config.errors import ConfigInvalid, ConfigUnreadable, SecretUnusable
from ...config.layers import extras_dir
from ...config.secrets import UNIT_CREDENTIAL, UNIT_TOKEN, coordinator_token
from .checks_told import Finding, Ground, failed_by, ok, skipped, warn
from .render import items, plain, table

ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "config.readable": "agent.toml and the files of agent.d are there and can be read",
        "config.valid": "they say nothing that cannot be",
        "config.permissions": "nobody but their owner may write to them",
        "config.extras": "whatever lies in agent.d is read",
        "config.pending": "the running agent has taken the last edit over",
        "token.source": "the token can be read from where it should be, and by nobody else",
    }
)
_OTHERS_WRITE = 0o022


def look(ground: Ground) -> Iterator[Finding]:
    """Look at the configuration, whether or not it can be used."""
    yield _readable(ground)
    yield _valid(ground)
    yield _permissions(ground)
    yield _extras(ground)
    yield _pending(ground)
    yield _token(ground)


def _readable(ground: Ground) -> Finding:
    if isinstance(ground.refused, ConfigUnreadable):
        return failed_by("config.readable", ground.refused)
    return ok("config.readable", f"{ground.config} can be read")


def _valid(ground: Ground) -> Finding:
    if ground.loaded is not None:
        count = len(ground.loaded.files)
        return ok("config.valid", f"{count} file(s), {len(ground.settings.models)} model(s)")
    if isinstance(ground.refused, ConfigUnreadable) or ground.refused is None:
        return skipped("config.valid", "nothing could be read")
    found = failed_by("config.valid", ground.refused)
    others = ground.refused.others if isinstance(ground.refused, ConfigInvalid) else ()
    cause = "; ".join((found.cause, *others))
    return Finding(found.id, found.verdict, cause, found.remedy, is_config=True)


def _permissions(ground: Ground) -> Finding:
    files = ground.loaded.files if ground.loaded is not None else (ground.config,)
    folders = {ground.config.parent, *(path.parent for path in files)}
    seen = False
    for path in (*files, *sorted(folders)):
        try:
            facts = path.stat()
        except OSError:
            continue
        seen = True
        is_shared = stat.S_ISDIR(facts.st_mode) and bool(facts.st_mode & stat.S_ISVTX)
        if facts.st_mode & _OTHERS_WRITE and not is_shared:
            cause = f"others may write to it (mode {stat.S_IMODE(facts.st_mode):04o})"
            return warn("config.permissions", cause, f"Say `chmod go-w {path}`.", str(path))
    if not seen:
        return skipped("config.permissions", "there is no file")
    return ok("config.permissions", "only their owner may write to the files")


def _extras(ground: Ground) -> Finding:
    folder = extras_dir(ground.config)
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208  # names are all that is needed
    except (FileNotFoundError, NotADirectoryError):
        return skipped("config.extras", f"there is no {folder}")
    except OSError as error:
        cause = f"it cannot be listed: {error.strerror}"
        return warn("config.extras", cause, "Check its permissions.", str(folder))
    # what editors and mounted folders put there has a dot in front
    idle = [name for name in names if not name.endswith(".toml") and name[0] != "."]
    if idle:
        cause = f"not read, for only *.toml is: {', '.join(map(plain, idle[:5]))}"
        return warn("config.extras", cause, "Rename or remove them.", str(folder))
    return ok("config.extras", f"{len(names)} file(s) in {folder}")


def _pending(ground: Ground) -> Finding:
    if not ground.runs:
        return skipped("config.pending", "no agent runs")
    told = table(ground.status.get("config"))
    rejected = table(told.get("rejected"))
    if rejected:
        cause = f"the last edit does not hold, an older one is in force: {rejected.get('words')}"
        return warn("config.pending", plain(cause), "See `poolhand config check`.")
    pending = [plain(table(one).get("key") or one) for one in items(told.get("pending"))]
    if pending:
        cause = f"they wait for a restart: {', '.join(pending)}"
        return warn("config.pending", cause, "Restart the agent when it suits you.")
    running = told.get("path")
    if isinstance(running, str) and os.path.realpath(running) != os.path.realpath(ground.config):
        cause = f"the agent runs another file, {Path(running)}"
        return warn("config.pending", plain(cause), "Name that file with --config.")
    return ok("config.pending", "the agent runs what the files say")


def _token(ground: Ground) -> Finding:
    if ground.loaded is None:
        return skipped("token.source", "the configuration cannot be used")
    name = ground.settings.coordinator.token_credential
    if name is not None and "CREDENTIALS_DIRECTORY" not in ground.environ:
        return _handed_over(ground, name)
    try:
        found = coordinator_token(ground.settings.coordinator, ground.environ)
    except SecretUnusable as error:
        return failed_by("token.source", error)
    if found.secret is not None:
        return ok("token.source", f"read from {found.source}")
    if found.warning:
        return warn("token.source", found.warning, "Say `poolhand login`, or name another source.")
    return ok("token.source", "none is named; a coordinator may want none")


def _handed_over(ground: Ground, name: str) -> Finding:
    """What our units hand to the agent, and to nobody who asks in a shell."""
    if name != UNIT_CREDENTIAL:
        return skipped("token.source", f"credential {name!r} is seen by the agent's process alone")
    path = ground.root / UNIT_TOKEN.relative_to("/")
    remedy = "Put it there, mode 0600 (`poolhand login` does); `poolhand service restart`."
    try:
        facts = path.stat()
    except FileNotFoundError:
        return warn("token.source", f"{path} is not there: the service goes without", remedy)
    except OSError as error:
        return skipped("token.source", f"{path}: {error.strerror}; the service's manager reads it")
    if facts.st_mode & 0o077:
        cause = f"others may read {path}"
        return warn("token.source", cause, f"Say `chmod 600 {path}`.")
    return ok("token.source", f"the service's manager hands {path} over")
