"""Whose this machine is, what was ordered and measured: files that are replaced in one step.

A file that cannot be understood is set aside under another name and told of; the agent then
begins without it. Times are stored as wall-clock seconds and handed out as ages, because the
node's own clock means nothing after a restart.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ...config.errors import StateDamaged
from ...config.paths import ORDERS_FILE
from ..core.assignment import MOST_EPOCH, Assignment, Source
from ..core.effects import PersistAssignment, PersistMeasured, PersistOrders
from ..core.events import AssignmentRead, Event, MeasuredRead, OrdersRead
from ..core.measured import MOST_MODELS, Measured
from .state_files import Pen, Strict, read_file

FILE, ORDERS, MEASURED = "assignment.json", ORDERS_FILE, "measured.json"
ASIDE = "assignment.bad"

_Key = Annotated[str, Field(min_length=1, max_length=1024)]
_Bytes = Annotated[int, Field(ge=0, le=2**62)]
_Time = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Record(Strict):
    """Whose this machine is."""

    pool: _Key | None
    scope: list[_Key]
    source: Source
    epoch: Annotated[int, Field(ge=0, le=2 * MOST_EPOCH - 1)]
    since_unix_s: _Time
    moved_unix_s: _Time | None
    only: list[_Key]
    topology_hash: str


class _Orders(Strict):
    """What its operator ordered."""

    pins: list[_Key]
    is_drained: bool


class _Load(Strict):
    """What one load was found to take."""

    model: _Key
    weights_bytes: _Bytes
    estimated_bytes: _Bytes
    loaded_bytes: _Bytes | None
    peak_bytes: _Bytes | None
    took_s: _Time


class _Loads(Strict):
    """What loads were found to take, the oldest first."""

    loads: Annotated[list[_Load], Field(max_length=MOST_MODELS)]


class AssignmentFile:
    """Reads and writes the assignment.

    Args:
        state_dir: This agent's own folder.
        tell: Puts an event into the inbox.
        pen: Writes it.
    """

    def __init__(self, state_dir: Path, *, tell: Callable[[Event], None], pen: Pen) -> None:
        self._path = state_dir / FILE
        self._tell, self._pen = tell, pen

    def recall(self) -> None:
        """Read it; ``AssignmentRead`` follows, whatever is in it."""
        try:
            record = read_file(self._path, _Record)
        except StateDamaged as error:
            self._tell(AssignmentRead(error=error))
            return
        self._tell(AssignmentRead(None if record is None else _assignment(record)))

    async def persist(self, wanted: PersistAssignment) -> None:
        """Write it; it is on the disk when this returns, or ``StateUnsaved`` follows."""
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
        await self._pen.write(self._path, record)


class OrdersFile:
    """Reads and writes what the operator ordered and is to outlive the process.

    Args:
        state_dir: This agent's own folder.
        tell: Puts an event into the inbox.
        pen: Writes it.
    """

    def __init__(self, state_dir: Path, *, tell: Callable[[Event], None], pen: Pen) -> None:
        self._path = state_dir / ORDERS
        self._tell, self._pen = tell, pen

    def recall(self) -> None:
        """Read it; ``OrdersRead`` follows if there is anything to tell."""
        try:
            record = read_file(self._path, _Orders)
        except StateDamaged as error:
            self._tell(OrdersRead(error=error))
            return
        if record is not None:
            self._tell(OrdersRead(tuple(record.pins), record.is_drained))

    async def persist(self, wanted: PersistOrders) -> None:
        """Write it; it is on the disk when this returns, or ``StateUnsaved`` follows."""
        record = _Orders(pins=list(wanted.pins), is_drained=wanted.is_drained)
        await self._pen.write(self._path, record)


class MeasuredFile:
    """Reads and writes what loads were found to take.

    Args:
        state_dir: This agent's own folder.
        tell: Puts an event into the inbox.
        pen: Writes it.
    """

    def __init__(self, state_dir: Path, *, tell: Callable[[Event], None], pen: Pen) -> None:
        self._path = state_dir / MEASURED
        self._tell, self._pen = tell, pen

    def recall(self) -> None:
        """Read it; ``MeasuredRead`` follows if there is anything to tell."""
        try:
            record = read_file(self._path, _Loads)
        except StateDamaged as error:
            self._tell(MeasuredRead(error=error))
            return
        if record is not None:
            found = (Measured(**each.model_dump()) for each in record.loads)
            self._tell(MeasuredRead(tuple(found)))

    async def persist(self, wanted: PersistMeasured) -> None:
        """Write it; it is on the disk when this returns, or ``StateUnsaved`` follows."""
        loads = [_Load.model_validate(asdict(each)) for each in wanted.measured]
        await self._pen.write(self._path, _Loads(loads=loads))


def _assignment(record: _Record) -> Assignment:
    now_s = time.time()
    moved_s = record.moved_unix_s
    return Assignment(
        scope=tuple(sorted(set(record.scope))),
        source=record.source,
        epoch=record.epoch,
        # a wall clock may have jumped: nothing was chosen in the future
        since_s=min(0.0, record.since_unix_s - now_s),
        only=tuple(record.only),
        moved_s=None if moved_s is None else min(0.0, moved_s - now_s),
    )
