"""Whose this machine is, on disk: one small file in the state folder, replaced in one step.

A file that cannot be understood is set aside under another name and told of; the agent then
chooses anew. Times are stored as wall-clock seconds and handed out as ages, because the node's
own clock means nothing after a restart.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...config.errors import StateDamaged
from ..core.assignment import MOST_EPOCH, Assignment, Source
from ..core.effects import PersistAssignment
from ..core.events import AssignmentRead, AssignmentUnsaved, Event

FILE = "assignment.json"
ASIDE = "assignment.bad"
MOST_BYTES = 2**20

_Key = Annotated[str, Field(min_length=1, max_length=1024)]
_Time = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Record(BaseModel):
    """The file's content, read as strictly as it is written."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    pool: _Key | None
    scope: list[_Key]
    source: Source
    epoch: Annotated[int, Field(ge=0, le=2 * MOST_EPOCH - 1)]
    since_unix_s: _Time
    moved_unix_s: _Time | None
    only: list[_Key]
    topology_hash: str


class AssignmentFile:
    """The one that reads and writes it.

    Args:
        state_dir: This agent's own folder.
        tell: Puts an event into the inbox.
    """

    def __init__(self, state_dir: Path, *, tell: Callable[[Event], None]) -> None:
        self._path = state_dir / FILE
        self._tell = tell

    def recall(self) -> None:
        """Read it; ``AssignmentRead`` follows, whatever is in it."""
        try:
            with self._path.open("rb") as file:
                record = _Record.model_validate_json(file.read(MOST_BYTES))
        except FileNotFoundError:
            self._tell(AssignmentRead())
        except OSError as error:
            self._tell(AssignmentRead(error=self._damaged(error.strerror or "unreadable")))
        except ValidationError:
            self._tell(AssignmentRead(error=self._damaged(self._set_aside())))
        else:
            now_s = time.time()
            moved_s = record.moved_unix_s
            kept = Assignment(
                scope=tuple(sorted(set(record.scope))),
                source=record.source,
                epoch=record.epoch,
                # a wall clock may have jumped: nothing was chosen in the future
                since_s=min(0.0, record.since_unix_s - now_s),
                only=tuple(record.only),
                moved_s=None if moved_s is None else min(0.0, moved_s - now_s),
            )
            self._tell(AssignmentRead(kept))

    def persist(self, wanted: PersistAssignment) -> None:
        """Write it; it is on the disk when this returns, or ``AssignmentUnsaved`` follows."""
        chosen, now_s = wanted.assignment, time.time()
        moved_s = chosen.moved_s
        record = _Record(
            pool=chosen.pool,
            scope=list(chosen.scope),
            source=chosen.source,
            epoch=chosen.epoch,
            since_unix_s=max(0.0, now_s + chosen.since_s - wanted.at_s),
            moved_unix_s=None if moved_s is None else max(0.0, now_s + moved_s - wanted.at_s),
            only=list(chosen.only),
            topology_hash=wanted.topology,
        )
        fresh = self._path.with_suffix(".new")
        try:
            with fresh.open("w") as file:
                file.write(json.dumps(record.model_dump(), indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.chmod(0o600)
            fresh.replace(self._path)
            _sync(self._path.parent)
        except OSError as error:
            self._tell(AssignmentUnsaved(self._damaged(error.strerror or "not written")))

    def _set_aside(self) -> str:
        """Keep the file for whoever wants to know, out of the way."""
        try:
            self._path.replace(self._path.with_name(ASIDE))
        except OSError as error:
            return f"no assignment, and cannot be set aside: {error.strerror or error}"
        return f"no assignment; kept as {ASIDE}"

    def _damaged(self, reason: str) -> StateDamaged:
        return StateDamaged(path=str(self._path), reason=reason)


def _sync(folder: Path) -> None:
    """Have the rename on the disk, too."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
