"""Whose server it is: one of ours, behind its keeper, or one that runs already."""

import asyncio
import contextlib
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

from ...config.engines import Attach
from ...config.errors import SecretUnusable
from ...config.flags import FLAGS, allowed
from ...config.gguf_names import is_projector
from ...config.secrets import from_file
from ..hosts.nvml import open_boards
from . import served_boards
from .child import Child, clean_environment
from .errors import EngineMissing, EngineStartFailed
from .footprint import footprint_bytes
from .http_call import Peer
from .profiles import CannotServe, Launch, Plan, Profile, Tuning, kind_of_failure
from .served_keeper import LOOK_S, STRAGGLERS_S
from .served_place import Place

_KEEPER = f"{__package__}.served_keeper"
_SLACK_S = 3.0

ABSENT_S = 10.0
"""So long a server that is not ours may be away: one that starts quickly has come back."""

_SETTLE_S = 30.0
"""How long the system may take to bury who was killed."""


class Origin(Protocol):
    """A server, as far as its process goes."""

    is_ours: bool
    """Whether it was started here, and its end is told."""

    absent_s: float
    """How long nobody may take a call while it is waited for."""

    sees_images: bool
    """Whether pictures in a chat may be passed on; known once it was started."""

    pid: int | None
    """The server's own process, if it is ours and runs."""

    async def start(self, ended: Callable[[int | None], None]) -> Peer:
        """Have it run, or on its way.

        Args:
            ended: Told once when it has ended by itself, with its exit code.

        Raises:
            EngineStartFailed: It cannot be started.
            EngineMissing: Something that it needs is not here.
        """
        ...

    def failed(self, exit_code: int | None) -> EngineStartFailed:
        """What to say if it ended before it was ready."""
        ...

    @property
    def log_tail(self) -> str:
        """The end of what it wrote."""
        ...

    def memory_bytes(self) -> int | None:
        """What it holds now, measured; it takes a while."""
        ...

    async def stop(self, patience_s: float) -> None:
        """End it if it is ours; return when its memory is back."""
        ...


class OwnServer:
    """A server that is started here, and ends here.

    Args:
        profile: What kind it is.
        plan: What it is to serve; where it listens is decided at the start.
    """

    is_ours = True
    absent_s = math.inf

    def __init__(self, profile: Profile, plan: Plan) -> None:
        self._profile = profile
        self._plan = plan
        self._child = Child((sys.executable, "-P", "-m", _KEEPER), self)
        self._place: Place | None = None
        self._said = bytearray()
        self._ended: Callable[[int | None], None] | None = None
        self._boards_before_bytes: int | None = None
        self.sees_images = False
        self.pid: int | None = None

    @property
    def keeper_pid(self) -> int | None:
        """The process between this one and the server."""
        return self._child.pid

    @property
    def log_tail(self) -> str:
        """The end of what it wrote, to either of its outputs."""
        return self._child.log_tail

    async def start(self, ended: Callable[[int | None], None]) -> Peer:
        """Start it; see :meth:`Origin.start`."""
        name = self._profile.name
        try:
            place, launch = await asyncio.to_thread(self._prepare)
            self._ended = ended
            await self._child.start()
        except CannotServe as error:
            raise EngineStartFailed(engine=name, kind="bad_model", reason=str(error)) from error
        except OSError as error:
            reason = f"no process: {error.strerror}"
            raise EngineStartFailed(engine=name, kind="exited", reason=reason) from error
        environment = {
            **clean_environment(os.environ),
            "PYTHONUNBUFFERED": "1",
            **launch.environment,
        }
        order = {"argv": launch.argv, "environment": environment, "folder": str(place.folder)}
        self._child.say(_line(order))
        return place.peer

    def _prepare(self) -> tuple[Place, Launch]:
        """Look at boards and files, and make the place; in a thread."""
        gpus = self._plan.gpus
        boards = open_boards()
        if (lack := served_boards.lack(gpus, boards)) is not None:
            raise EngineMissing(engine=self._profile.name, needs=lack)
        self._boards_before_bytes = served_boards.used_bytes(gpus, boards)
        self.sees_images = _sees(self._plan)
        place = self._place = Place.make(takes_socket=self._profile.takes_socket)
        plan = replace(
            self._plan,
            files=() if self._plan.store else _names_in(Path(self._plan.model)),
            images=self.sees_images,
            adapters=tuple(_looked_at(one) for one in self._plan.adapters),
            socket_path=place.socket_path,
            port=place.port,
            folder=str(place.folder),
            key=place.key,
        )
        try:
            _ = allowed(plan.flags, FLAGS[self._profile.name])
        except ValueError as error:
            # a model's own flags: which server it gets was not known when they were read
            raise CannotServe(str(error)) from None
        launch = self._profile.launch(plan)
        for name, text in launch.files.items():
            (place.folder / name).write_text(text, encoding="utf-8")
        return place, launch

    def failed(self, exit_code: int | None) -> EngineStartFailed:
        """See :meth:`Origin.failed`."""
        tail = self.log_tail
        reason = f"the server ended with exit code {exit_code}"
        kind = kind_of_failure(tail)
        return EngineStartFailed(engine=self._profile.name, kind=kind, reason=reason, tail=tail)

    def memory_bytes(self) -> int | None:
        """Its own processes' memory, or what its boards hold more than before."""
        if self._boards_before_bytes is not None:
            now_bytes = served_boards.used_bytes(self._plan.gpus, open_boards())
            return None if now_bytes is None else max(0, now_bytes - self._boards_before_bytes)
        return None if self.pid is None else _family_bytes(self.pid)

    async def stop(self, patience_s: float) -> None:
        """Ask it to leave, then make it; its folder goes too."""
        farewell = (_line({"stop": patience_s}),)
        try:
            group = self._child.pid
            slack_s = STRAGGLERS_S + _SLACK_S
            was_killed = await self._child.stop(farewell, patience_s=patience_s + slack_s)
            if was_killed and group is not None:
                await emptied(group, patience_s=_SETTLE_S)
        finally:
            if self._place is not None:
                self._place.remove()

    # ── what the keeper says ──────────────────────────────────────────────────────────

    def heard(self, data: bytes) -> None:
        """Take what the keeper says, a line at a time."""
        self._said += data
        *lines, rest = bytes(self._said).split(b"\n")
        self._said = bytearray(rest)
        for line in lines:
            told = cast("Mapping[str, int]", json.loads(line))
            if "pid" in told:
                self.pid = told["pid"]
            else:
                # its last words lie in the log's pipe by now; they are read in the turn between
                soon = asyncio.get_running_loop().call_soon
                soon(soon, self._tell, told["ended"])

    def gone(self, exit_code: int | None) -> None:
        """The keeper is gone, and so is the server."""
        self._sweep()
        self._tell(exit_code)

    def _tell(self, exit_code: int | None) -> None:
        ended, self._ended = self._ended, None
        self.pid = None
        if ended is not None:
            ended(exit_code)

    def _sweep(self) -> None:
        """End what is left of the keeper's group, should it have been killed itself."""
        pid = self._child.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)


async def emptied(group: int, *, patience_s: float) -> bool:
    """Wait until nobody is left of a group that was killed: who held much memory goes slowly.

    Args:
        group: Its number.
        patience_s: Seconds to wait at most.

    Returns:
        Whether it is empty.
    """
    loop = asyncio.get_running_loop()
    until_s = loop.time() + patience_s
    while loop.time() < until_s:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return True
        await asyncio.sleep(LOOK_S)
    return False


class AttachedServer:
    """A server that runs already: it is asked, and left alone.

    Args:
        attach: Where it is, and what holds its key.
        sees_images: Whether its model takes pictures.
        absent_s: How long it may be away while it is waited for; nobody here would start it.
    """

    is_ours = False
    pid: int | None = None
    log_tail = ""

    def __init__(
        self, attach: Attach, *, sees_images: bool = False, absent_s: float = ABSENT_S
    ) -> None:
        self._attach = attach
        self.absent_s = absent_s
        self.sees_images = sees_images

    async def start(self, ended: Callable[[int | None], None]) -> Peer:
        """It runs, or it does not: the first question will tell.

        Raises:
            SecretUnusable: Its key cannot be read.
        """
        del ended
        headers: dict[str, str] = {}
        if (path := self._attach.key_file) is not None:
            found = await asyncio.to_thread(from_file, path)
            if found.secret is None:
                raise SecretUnusable(source=found.source, reason="it is not there")
            headers["Authorization"] = f"Bearer {found.secret.reveal()}"
        return Peer(self._attach.url or "http://localhost", headers, self._attach.socket)

    def failed(self, exit_code: int | None) -> EngineStartFailed:
        """Nobody tells how it ended."""
        reason = f"the server ended with exit code {exit_code}"
        return EngineStartFailed(engine="attach", kind="exited", reason=reason)

    def memory_bytes(self) -> int | None:
        """Its memory is not ours to count."""
        return None

    async def stop(self, patience_s: float) -> None:
        """Leave it alone."""


def _line(message: Mapping[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _names_in(folder: Path) -> tuple[str, ...]:
    return tuple(file.name for file in folder.iterdir())


def _sees(plan: Plan) -> bool:
    """Whether a model takes pictures: as the operator says, else by its own files."""
    if plan.images is not None or plan.store:
        return bool(plan.images)
    folder = Path(plan.model)
    has_config = isinstance(_json(folder / "config.json").get("vision_config"), dict)
    return has_config or any(map(is_projector, _names_in(folder)))


def _json(path: Path) -> Mapping[str, object]:
    """A JSON object from a file; empty if there is none."""
    try:
        told = cast("object", json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("Mapping[str, object]", told) if isinstance(told, dict) else {}


def _looked_at(adapter: Tuning) -> Tuning:
    """An adapter with its files, and with what it says of itself (``adapter_config.json``)."""
    folder = Path(adapter.folder)
    rank = _json(folder / "adapter_config.json").get("r")
    is_known = isinstance(rank, int) and rank > 0
    return replace(adapter, files=_names_in(folder), rank=rank if is_known else None)


def _family_bytes(pid: int) -> int | None:
    """What a process and all below it hold for themselves."""
    import psutil  # noqa: PLC0415 - only where an engine runs

    try:
        family = [pid, *(one.pid for one in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return None
    held = [footprint_bytes(one) for one in family]
    return sum(filter(None, held)) or None
