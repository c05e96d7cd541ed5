"""Builds the house and runs its one loop; the one file that knows everyone.

The loop takes an event, hands it to the core and has the effects performed; it never waits
for anything but the next event. Whatever nobody expected ends the process, loudly: the
service manager starts it again.
"""

import asyncio
import fcntl
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .. import __version__
from ..backends.engines.leash import forbid_debuggers
from ..backends.hosts.catalog import probe_for
from ..config import paths
from ..config.errors import AgentError
from ..config.load import Loaded, load
from ..config.secrets import coordinator_token
from .control.access import doors
from .control.asked import Answer, Asked
from .control.desk import Desk
from .control.gauges import Process
from .core.again import Again
from .core.brief import brief
from .core.events import (
    Due,
    Event,
    Heard,
    HostKnown,
    SettingsChanged,
    StopAsked,
)
from .core.node import Node
from .core.status import Json
from .runtime.identity import forbid_core_dumps, identify, privacy
from .runtime.inbox import Inbox
from .runtime.link import Traffic
from .runtime.log import Log, place
from .runtime.notify import notifier
from .runtime.perform import Performer, World, cache_folder
from .runtime.settings_file import SettingsFile
from .runtime.thrift import give_back, keep_one_heap, resident_bytes
from .wire.inbound import DesiredModels

if TYPE_CHECKING:
    from ..config.telemetry import Telemetry
    from .control.traces import Traces
    from .core.convergence import Ignored
    from .runtime.registry import Registry

LOOK_S = 2.0
"""The core looks at the clock at least so often, to notice that time was lost."""

LAST_WORD_S = 20.0
"""How long past a drain's end the way out may take, engines and goodbye included."""

LAST_READ_S = 1.0
"""How long this machine's own programs may take to read the end of an answer."""


def run(config_path: Path, state_dir: Path) -> int:
    """Run the agent in the foreground until it is asked to stop.

    Args:
        config_path: The TOML file.
        state_dir: This agent's own folder; two agents never share one.

    Returns:
        The exit status: 0 after a clean stop.

    Raises:
        ConfigError: The configuration, the token or the state folder cannot be used.
    """
    keep_one_heap()
    loaded = load(config_path, os.environ)
    with ExitStack() as held:
        _own(state_dir, held)
        return asyncio.run(Daemon(loaded, state_dir).run())


class _Left(Exception):
    """The node has left: the way to end a task group and everyone in it."""


class Daemon:
    """One agent.

    Args:
        loaded: The settings and where they are from.
        state_dir: This agent's own folder.
    """

    def __init__(self, loaded: Loaded, state_dir: Path) -> None:
        self._state_dir = state_dir
        settings = loaded.settings
        self._log = Log(level=settings.log.level, style=settings.log.format)
        found = coordinator_token(settings.coordinator, os.environ)
        if found.warning:
            self._log.note(found.warning, level=logging.WARNING)
        forbid_core_dumps()
        is_hidden = forbid_debuggers()
        identity, self._key = identify(state_dir, found.secret, settings, is_hidden=is_hidden)
        self._node = Node(settings, identity, chance=random.SystemRandom().random)
        self._inbox = Inbox()
        self.tell = self._inbox.tell
        self._ignored: Ignored | None = None
        self._notify = notifier(os.environ)
        self._desk = Desk(
            self._node,
            tell=self.tell,
            about=self._about,
            reread=self._reread,
            clock_s=clock_s,
            process=self._process,
        )
        self._file = SettingsFile(
            loaded,
            os.environ,
            tell=self.tell,
            note=self._log.note,
            promises=lambda chosen: privacy(chosen, os.environ, is_hidden=is_hidden),
        )
        self._started_s = clock_s()
        self._traces: Traces | None = None
        self._doers: Performer | None = None
        """There once this machine is known; the control socket asks before."""
        self._is_asked_to_stop = False
        self._is_tidy = False

    async def run(self) -> int:
        """Run until the node has left.

        Returns:
            The exit status: 0.
        """
        self._log.note("poolhand starts", version=__version__, pid=os.getpid())
        self._obey_signals()
        routes = {**self._desk.routes, "/v1/config": {"GET": self._config}}
        try:
            with doors(self._file.settings.control, self._state_dir, routes) as found:
                async with asyncio.TaskGroup() as tasks:
                    for api, bound in found:
                        tasks.create_task(api.serve(bound), name="control")
                    await self._serve(tasks)
        except* _Left:
            self._log.note("poolhand stopped")
        return 0

    async def _serve(self, tasks: asyncio.TaskGroup) -> NoReturn:
        """Look what machine this is, then go round the loop until the node has left.

        Raises:
            _Left: Always; whoever still runs was asked to leave, and had the time.
        """
        probe = await asyncio.to_thread(probe_for, sys.platform, os.uname().machine)
        registry = self._registry()
        settings, told = self._file.in_force, self._desk.told
        cache = cache_folder(settings, _default_cache(os.environ))
        world = World(settings, self._key, probe, cache, self._state_dir, told)
        if registry is not None:
            world = replace(world, read_catalog=registry.ask)
            tasks.create_task(registry.keep(), name="catalog")
        wanted = self._node.wanted
        doers = Performer(world, tell=self.tell, hear=self._inbox.hear, tasks=tasks, wanted=wanted)
        self._doers, self._desk.ask = doers, doers.ask
        doers.recall()
        self.tell(HostKnown(await asyncio.to_thread(probe.facts)))
        self._notify.ready()
        tasks.create_task(self._file.keep(), name="configuration")
        self._trace(settings.telemetry, tasks)
        await self._loop(doers, tasks)
        await doers.settled(LAST_READ_S)
        raise _Left

    def _registry(self) -> "Registry | None":
        """Whoever reads the public catalog, if the operator wants anything from there."""
        settings = self._file.settings
        if not settings.catalog.builds:
            return None
        from .runtime.registry import Registry  # noqa: PLC0415  # only where it is of use

        found = Registry(
            settings,
            self._state_dir,
            tell=self.tell,
            offers=self._file.offer,
            taken=lambda: [entry.id for entry in self._file.settings.models],
        )
        found.recall()
        return found

    def _trace(self, wanted: "Telemetry", tasks: asyncio.TaskGroup) -> None:
        """Send traces as the operator wants it now, from the next one that begins."""
        if self._traces is not None:
            if self._traces.settings == wanted:
                return
            self._traces.leave()
        self._traces = self._desk.spans = None
        if not wanted.traces:
            return
        from .control.spans import Spans  # noqa: PLC0415  # only where traces are wanted
        from .control.traces import Traces  # noqa: PLC0415  # likewise

        self._traces = Traces(wanted, os.environ, note=self._log.note, clock_s=clock_s)
        self._desk.spans = Spans(self._node, self._traces.give)
        tasks.create_task(self._traces.keep(), name="traces")

    async def _loop(self, doers: Performer, tasks: asyncio.TaskGroup) -> None:
        again = Again(self._node)
        while not self._node.is_done:
            events = await self._inbox.next(self._patience_s)
            now_s, unix_s = clock_s(), time.time()
            for event in events:
                self._take(event, doers, tasks, now_s)
                for effect in again.handle(event, now_s, unix_s):
                    self._log.done(effect)
                    self._desk.done(effect, now_s)
                    if (kept := doers.perform(effect)) is not None:
                        await kept
                if isinstance(event, Heard) and isinstance(event.message, DesiredModels):
                    self._name_ignored()
                if self._node.is_done:
                    return
            self._vouch(clock_s())

    def _take(self, event: Event, doers: Performer, tasks: asyncio.TaskGroup, now_s: float) -> None:
        """Write an event down, and do what is to be done before the node hears of it."""
        if isinstance(event, Due) and not self._is_tidy:
            # the first quiet moment: what starting took can go back
            self._is_tidy = True
            give_back()
        self._log.happened(event)
        self._desk.happened(event, now_s)
        if isinstance(event, SettingsChanged):
            self._log.heed(event.settings.log.level)
            doers.resettle(event.settings)
            self._trace(event.settings.telemetry, tasks)

    def _name_ignored(self) -> None:
        """Write down, once, what is desired and kept away: the message has no answer."""
        from .core.convergence import Ignored, convergence  # noqa: PLC0415  # most never desire

        self._ignored = self._ignored or Ignored()
        rows = convergence(self._node.loads, self._node.machine.stocks)
        for row in self._ignored.news(rows):
            self._log.note("desired build ignored", model=row.model, alias=row.name, reason=row.why)

    def _vouch(self, now_s: float) -> None:
        """Tell the service manager that this process is of use, or be silent."""
        is_moving = self._node.session.is_moving(now_s)
        self._notify.turn(now_s, is_moving=is_moving, words=lambda: brief(self._node, now_s))

    def _patience_s(self) -> float:
        """How long nothing may happen until the core looks at the clock again."""
        look_s = min(LOOK_S, self._notify.look_s)
        return min(max(self._node.deadline_s - clock_s(), 0.0), look_s)

    def _obey_signals(self) -> None:
        """SIGTERM asks the node to leave, a second one to hurry; SIGHUP, to read the file."""

        def stop() -> None:
            self._notify.stopping(self._node.settings.requests.drain_s + LAST_WORD_S)
            self.tell(StopAsked(now=self._is_asked_to_stop))
            self._is_asked_to_stop = True

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        # a terminal that hangs up must not end this one in the middle of an answer either
        loop.add_signal_handler(signal.SIGHUP, self._reread)

    def _reread(self) -> AgentError | str:
        """Take over what the files say now, as far as can be without a restart."""
        self._notify.reloading()
        taken = self._file.reread()
        self._notify.ready()
        return taken

    def _config(self, _: Asked) -> Answer:
        return Answer(self._file.told())

    def _about(self) -> dict[str, dict[str, Json]]:
        """The process, as the status tells it."""
        peers = None if self._doers is None else self._doers.peers()
        return {
            **({} if peers is None else {"peers": peers}),
            **({} if self._traces is None else {"telemetry": self._traces.facts()}),
            "config": self._file.facts(),
            "node": {
                "version": __version__,
                "pid": os.getpid(),
                "state_dir": str(self._state_dir),
                "uptime_s": round(clock_s() - self._started_s, 3),
                "backend_label": self._file.settings.wire.backend_label,
                "log": {**place(os.environ)},
            },
        }

    def _process(self) -> Process:
        """The process, as the metrics tell it."""
        doers, uptime_s = self._doers, round(clock_s() - self._started_s, 3)
        said = Traffic() if doers is None else doers.traffic()
        told = (said.ack_age_s, said.outbox, said.chunks)
        counts = None if doers is None else doers.peer_counts()
        return Process(__version__, uptime_s, *told, resident_bytes(), counts)


def clock_s() -> float:
    """Seconds on a clock that never jumps back and goes on while the machine sleeps."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    # on macOS this clock counts sleep, unlike time.monotonic()
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def _own(state_dir: Path, held: ExitStack) -> None:
    """Make the state folder this process's own for as long as it lives."""
    paths.own_dir(state_dir)
    try:
        lock = held.enter_context((state_dir / "agent.lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        reason = "another agent runs with this state folder; give each its own --state-dir"
        raise paths.StateUnusable(path=str(state_dir), reason=reason) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise paths.StateUnusable(path=str(state_dir), reason=reason) from error


def _default_cache(environ: Mapping[str, str]) -> Path:
    return paths.cache_dir(sys.platform, environ, Path.home())
