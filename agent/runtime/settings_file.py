"""The configuration's files while the agent runs: watched, reread, taken over as far as can be.

A reading that does not hold changes nothing: the last good settings stay in force. One that
holds is taken over at once, as one value; keys that need a restart keep their old values until
then and are named as pending. Nothing here waits for a request, and none is ended.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ...config.change import diff, keeping, when
from ...config.errors import AgentError, ConfigError
from ...config.load import Loaded, load
from ...config.settings import ModelEntry, Settings
from ...config.told import flat
from ...config.watch import Seen, Watch, see
from ..core.events import Event, SettingsChanged, SettingsRejected
from ..core.status import Json

LOOK_S = 1.0
"""From one look at the files to the next; soon after something new was seen, more often."""

SOON_S = 0.2


class Note(Protocol):
    """Writes one line into the log."""

    def __call__(self, words: str, *, level: int = logging.INFO, **facts: object) -> None:
        """Write the words, and the facts under their names."""
        ...


class SettingsFile:
    """Owner of what the files say, and of which part of it is in force.

    Args:
        loaded: What was read at the start.
        environ: The process's environment.
        tell: Puts an event into the inbox.
        note: Writes into the log.
        promises: What was claimed at the start for settings like these; models and engines that
            would break a claim wait for a restart.
    """

    def __init__(
        self,
        loaded: Loaded,
        environ: Mapping[str, str],
        *,
        tell: Callable[[Event], None],
        note: Note,
        promises: Callable[[Settings], object] = lambda _: None,
    ) -> None:
        self._environ = environ
        self._tell = tell
        self._note = note
        self._promises = promises
        self.settings = loaded.settings
        self.pending: tuple[str, ...] = ()
        self._loaded = loaded
        self._offered: tuple[ModelEntry, ...] = ()
        self._changed_s: float | None = None
        self._is_rejected = False
        self._watch = Watch(loaded.path, loaded.read, clock_ns=time.time_ns)

    @property
    def path(self) -> Path:
        """The first file, absolute."""
        return self._loaded.path

    @property
    def in_force(self) -> Settings:
        """What the files say as far as it holds, and what a catalog offers beside it."""
        named = {entry.id for entry in self.settings.models}
        more = [entry for entry in self._offered if entry.id not in named]
        models = (*self.settings.models, *more)
        return self.settings.model_copy(update={"models": models}) if more else self.settings

    def offer(self, entries: Iterable[ModelEntry]) -> None:
        """Have a catalog's models offered beside those of the files, and no others of its.

        One whose engine would break what was claimed at the start is left out.
        """
        before, claimed = self._offered, self._promises(self.settings)
        kept: list[ModelEntry] = []
        for entry in entries:
            tried = self.settings.model_copy(update={"models": (*self.settings.models, entry)})
            if self._promises(tried) == claimed:
                kept.append(entry)
            else:
                words = "a model of the catalog is left out: its engine breaks a claim"
                self._note(words, level=logging.WARNING, model=entry.id)
        self._offered = tuple(kept)
        if self._offered != before:
            self._tell(SettingsChanged(self.in_force))

    async def keep(self) -> None:
        """Look after the files until cancelled."""
        is_over = threading.Event()
        try:
            while True:
                # a folder on a server that is away must not hold up the line, and looks that see
                # nothing new need not wake it: they were a third of what an idle agent took
                seen = await asyncio.to_thread(self._next_news, is_over)
                if seen is not None:
                    _ = self._take_over(seen)
        finally:
            is_over.set()

    def _next_news(self, is_over: threading.Event) -> Seen | None:
        """Look until there is something new; runs in a thread."""
        while not is_over.wait(SOON_S if self._watch.is_waiting else LOOK_S):
            seen = self._watch.look(time.monotonic())
            if seen is not None:
                return seen
        return None

    def reread(self) -> AgentError | str:
        """Read the files now, whoever may be writing them; for SIGHUP and orders.

        Returns:
            What became of it: a sentence, or why the last good settings stay in force.
        """
        seen = see(self.path)
        self._watch.take(seen)
        return self._take_over(seen)

    def facts(self) -> dict[str, Json]:
        """What the status tells of the configuration."""
        now_s = time.monotonic()
        return {
            "path": str(self.path),
            "files": [str(path) for path in self._loaded.files],
            "pending": list(self.pending),
            "changed_s": None if self._changed_s is None else round(now_s - self._changed_s, 3),
            "last_good_in_force": self._is_rejected,
        }

    def told(self) -> dict[str, Json]:
        """Every key that is in force, its value masked, and where the wanted one came from."""
        origins = {key: str(origin) for key, origin in self._loaded.origins.items()}
        return {**self.facts(), "settings": {**flat(self.settings)}, "origins": {**origins}}

    def _take_over(self, seen: Seen) -> AgentError | str:
        """All of it that can hold now; none of it, if it does not hold as a whole."""
        try:
            if seen.error is not None:
                raise seen.error
            loaded = load(self.path, self._environ, seen.files)
        except ConfigError as error:
            self._is_rejected = True
            self._tell(SettingsRejected(error))
            self._note("the last good configuration stays in force", level=logging.WARNING)
            return error
        return self._hold(loaded)

    def _hold(self, loaded: Loaded) -> str:
        before, wanted = self.settings, loaded.settings
        pending = diff(before, wanted).restart
        after = keeping(before, wanted, pending)
        broken = self._broken(before, after)
        pending += broken
        after = keeping(before, after, broken)
        change = diff(before, after)
        self._loaded, self.settings, self.pending = loaded, after, pending
        was_rejected, self._is_rejected = self._is_rejected, False
        if change.keys:
            self._changed_s = time.monotonic()
        # told even if nothing changed: a rejected reading is over
        self._tell(SettingsChanged(self.in_force))
        if change.keys or pending or was_rejected:
            self._note(
                "configuration taken over",
                changed=_by_time(change.keys),
                touched=", ".join(sorted(change.parts)) or "nothing",
                pending=", ".join(pending) or "nothing",
            )
        return _sentence(change.keys, pending)

    def _broken(self, before: Settings, after: Settings) -> tuple[str, ...]:
        """What would make a claim untrue that the coordinator was given."""
        if self._promises(before) == self._promises(after):
            return ()
        changed = diff(before, after).keys
        return tuple(key for key in changed if key.split(".")[0] in {"models", "engines"})


def _by_time(keys: Sequence[str]) -> str:
    """Keys, and from when on they hold where that is not at once."""
    told = [key if when(key) == "now" else f"{key} ({when(key)})" for key in keys]
    return ", ".join(told) or "nothing"


def _sentence(keys: Sequence[str], pending: Sequence[str]) -> str:
    said = f"in force: {_by_time(keys)}" if keys else "nothing changed"
    return f"{said}; needs a restart: {', '.join(pending)}" if pending else said
