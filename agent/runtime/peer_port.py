"""The process that answers peers: started, heard, started again, ended with the agent.

It is there only where ``peers.listen`` is set; the agent itself opens no port and holds no key.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from ...config.errors import AgentError
from ...config.paths import StateUnusable
from ...config.peers import Peers
from ..core.events import CacheSurveyed, Event
from ..core.status import Json
from ..weights.lines import MAX_LINE_BYTES, decode
from ..weights.peers_lines import CHILD, encode_kept_back, encode_place

_FIRST_REST_S, _LONGEST_REST_S = 1.0, 60.0
_STOP_PATIENCE_S = 5.0
_PASSED_ON = ("HOME", "PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH")
"""Where things are; it speaks to no store, so nothing of what a fetch needs for one."""


class PeerPort:
    """One process that answers peers.

    Args:
        peers: Where, and how much.
        cache_dir: What it serves from.
        tasks: Its parent.
        environ: The agent's environment; the child learns from it where things are.
        command: How it is started.
    """

    def __init__(
        self,
        peers: Peers,
        cache_dir: Path,
        *,
        tasks: asyncio.TaskGroup,
        environ: Mapping[str, str] = os.environ,
        command: Sequence[str] = CHILD,
    ) -> None:
        self._peers = peers
        self._cache_dir = cache_dir
        self._environ = environ
        self._command = command
        self._child: asyncio.subprocess.Process | None = None
        self._kept_back: list[str] = []
        self._port: int | None = None
        self._served: dict[str, int] = {}
        self._error: AgentError | None = None
        self._rest_s = _FIRST_REST_S
        tasks.create_task(self._keep(), name="peers")

    def overhear(self, tell: Callable[[Event], None]) -> Callable[[Event], None]:
        """The same, but what is read through or damaged is kept back from peers."""

        def told(event: Event) -> None:
            if isinstance(event, CacheSurveyed) and event.survey is not None:
                damaged = {damage.model for damage in event.survey.damaged}
                reading = {event.survey.scrubbing} - {None}
                self._keep_back(sorted(damaged | cast("set[str]", reading)))
            tell(event)

        return told

    def facts(self) -> dict[str, Json]:
        """How it stands, for the status."""
        error = self._error
        return {
            "listen": self._peers.listen,
            "port": self._port,
            "error": None if error is None else {"code": error.code, "words": str(error)},
            "kept_back": [*self._kept_back],
            **self.counts,
        }

    @property
    def counts(self) -> dict[str, int]:
        """What the process has counted since it began."""
        return {name: self._served.get(name, 0) for name in _COUNTS}

    def _keep_back(self, models: list[str]) -> None:
        self._kept_back = models
        self._say(encode_kept_back(models))

    def _say(self, line: bytes) -> None:
        child = self._child
        if child is not None and child.stdin is not None and not child.stdin.is_closing():
            child.stdin.write(line)  # a line now and then: nothing piles up

    async def _keep(self) -> None:
        """Have it run, whatever becomes of it, with longer and longer rests."""
        while True:
            try:
                await self._run()
            except OSError as error:  # no process could be had
                reason = f"peers.listen {self._peers.listen}: {error.strerror or error}"
                self._error = StateUnusable(path=self._command[0], reason=reason)
            self._port, self._served = None, {**self._served, "connections": 0}
            await asyncio.sleep(self._rest_s)
            self._rest_s = min(self._rest_s * 2, _LONGEST_REST_S)

    async def _run(self) -> None:
        child = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={name: self._environ[name] for name in _PASSED_ON if name in self._environ},
            limit=MAX_LINE_BYTES,
        )
        self._child = child
        try:
            self._say(encode_place(self._peers, str(self._cache_dir)))
            self._say(encode_kept_back(self._kept_back))
            while child.stdout is not None and (line := await child.stdout.readline()):
                with contextlib.suppress(ValueError):  # no word of ours, or one cut off
                    self._heard(line)
            _ = await child.wait()
        finally:
            self._child = None
            await _end(child)

    def _heard(self, line: bytes) -> None:
        match cast("dict[str, object]", json.loads(line)):
            case {"port": int(port)}:
                self._port, self._error, self._rest_s = port, None, _FIRST_REST_S
            case {"served": dict()} as said:
                self._served = cast("dict[str, int]", said["served"])
            case _:
                word = decode(line)
                self._error = word if isinstance(word, AgentError) else None


_COUNTS = ("sent_bytes", "asks", "connections", "refused", "turned_away")


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.stdin is not None:
        child.stdin.close()
    if child.returncode is not None:
        return
    try:
        async with asyncio.timeout(_STOP_PATIENCE_S):
            _ = await child.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        _ = await child.wait()
