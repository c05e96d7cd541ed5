"""One line for each thing that happened and each thing that was done.

JSON for machines, plain text on a terminal, entries with fields in systemd's journal. Lines
carry ids, counts, codes and sentences of our own; messages of the wire are named by their type,
and of a request only its id is told.
"""

import contextlib
import fcntl
import json
import logging
import os
import stat
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal, TextIO

from ...backends.engines.errors import EngineStartFailed
from ...config.errors import AgentError
from ..core.effects import Effect, ReadActivity, RefreshInventory, SampleHost, Send
from ..core.events import (
    ActivityRead,
    Due,
    Event,
    Heard,
    HostSampled,
    InventoryChanged,
    WeightsProgressed,
)
from ..wire.inbound import Cancel, Unknown
from ..wire.outbound import Heartbeat
from .flood import Flood
from .journald import Journald, is_journal, priority

MOST_CHARS = 400
"""Longer texts of others are cut."""

_STDERR = 2

_LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_JSON = json.JSONEncoder(default=str)

_QUIET = (
    *(HostSampled, InventoryChanged, WeightsProgressed, SampleHost, RefreshInventory),
    *(ActivityRead, ReadActivity),
)
"""What happens all the time, and what nobody asks about."""

_TOLD = (
    *("model_id", "request_id", "status", "error", "status_code", "model", "reason", "type"),
    *("pool", "epoch", "assigned"),
)
"""Fields of wire messages that may be read by others."""


class Log:
    """The node's diary.

    Args:
        level: Least important lines to write.
        style: ``auto`` is text on a terminal, entries in systemd's journal, JSON elsewhere.
        out: Where to; standard error if not said.
        now: The wall clock, in seconds since 1970.
        journal: Takes entries if ``out`` leads to the journal.
    """

    def __init__(
        self,
        *,
        level: str = "info",
        style: Literal["auto", "json", "text"] = "auto",
        out: TextIO | None = None,
        now: Callable[[], float] = time.time,
        journal: Callable[[], Journald | None] = Journald.opened,
    ) -> None:
        self._now = now
        self._out = out or sys.stderr
        self._least = _LEVELS[level]
        self._is_json = style == "json" or (style == "auto" and not self._out.isatty())
        self._is_journal = out is None and is_journal(os.environ, _STDERR)
        self._journal = journal() if self._is_journal and style == "auto" else None
        self._flood = Flood()
        self._kinds: dict[tuple[type, type], tuple[int, str, str | None]] = {}

    def heed(self, level: str) -> None:
        """Write from now on what is at least so important."""
        self._least = _LEVELS[level]

    def happened(self, event: Event) -> None:
        """Write down an event."""
        if isinstance(event, Due):
            return
        error = None if isinstance(event, Heard) else self._failure(event)
        self._tell(event, error)

    def done(self, effect: Effect) -> None:
        """Write down an effect."""
        self._tell(effect, None)

    def note(self, words: str, *, level: int = logging.INFO, **facts: object) -> None:
        """Write down something of the process itself."""
        self.write(level, words, facts)

    def write(self, level: int, what: str, facts: Mapping[str, object]) -> None:
        """Write one line, if it is important enough and there were not too many like it."""
        kind = (what, facts.get("message"), facts.get("code"))
        if level >= self._least and self._passes(level, kind):
            self._put(level, what, facts)

    def _tell(self, item: Event | Effect, error: AgentError | None) -> None:
        """Write down an event or effect; its facts are looked for only if the line is written."""
        message: object = getattr(item, "message", None)
        known = self._kinds.get((type(item), type(message)))
        if known is None:
            known = self._kinds[type(item), type(message)] = _kind(item, message)
        level, what, of = known
        if error is not None:
            level = logging.WARNING
        if level < self._least:
            return
        if self._passes(level, (what, of, None if error is None else error.code)):
            self._put(level, what, _told(item))

    def _failure(self, event: Event) -> AgentError | None:
        """Why an event is a failure, if it is one."""
        error: AgentError | None = getattr(event, "error", None)
        return error

    def _passes(self, level: int, kind: tuple[str, object, object]) -> bool:
        """Whether a line of this kind is written; how many were not is told beside it."""
        passed, what = self._flood.passes(kind, self._now()), kind[0]
        if passed.left_out:
            self._put(level, "LinesLeftOut", {"of": what, "lines": passed.left_out})
        if passed.is_first_left_out:
            self._put(level, "LinesLeftOut", {"of": what, "because": "there are too many"})
        return passed.is_written

    def _put(self, level: int, what: str, facts: Mapping[str, object]) -> None:
        if self._journal is not None:
            words = _words_of(what, facts)
            if self._journal.write(level, words, what, facts):
                return
        name = logging.getLevelName(level).lower()
        at = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds")
        if self._is_json:
            line = _JSON.encode({"at": at, "level": name, "what": what, **facts})
        else:
            line = f"{at[11:23]} {name:7} {_words_of(what, facts)}"
        # the journal reads a priority off the line's beginning
        begin = f"<{priority(level)}>" if self._is_journal else ""
        # whoever read the diary may leave: that is no reason to stop serving
        with contextlib.suppress(OSError):
            self._out.write(f"{begin}{line}\n")
            self._out.flush()


def _kind(item: Event | Effect, message: object) -> tuple[int, str, str | None]:
    """How important an event or effect is, its name and its message's: its classes tell."""
    is_quiet = (
        isinstance(item, _QUIET)
        or (isinstance(item, Send) and isinstance(message, Heartbeat))
        or (isinstance(item, Heard) and isinstance(message, Cancel | Unknown))
    )
    level = logging.DEBUG if is_quiet else logging.INFO
    return level, type(item).__name__, None if message is None else type(message).__name__


def _told(item: Event | Effect) -> dict[str, object]:
    """The facts of an event or effect that may be read by others."""
    facts: dict[str, object] = {}
    for name in item.__match_args__:
        value: object = getattr(item, name)
        if isinstance(value, AgentError):
            facts |= {"code": value.code, "words": _short(str(value))}
            if isinstance(value, EngineStartFailed) and value.tail:
                facts["tail"] = value.tail
        elif name == "message":
            facts |= _words(value)
        elif name == "request":
            facts["request"] = getattr(value, "id", None)
        elif isinstance(value, str):
            facts[name] = _short(value)
        elif isinstance(value, int | float):
            facts[name] = value
    return facts


def _words(message: object) -> dict[str, object]:
    """A wire message: its type, and what of it is no secret."""
    said = {name: getattr(message, name, None) for name in _TOLD}
    facts: dict[str, object] = {"message": type(message).__name__}
    return facts | {
        name: _short(value) if isinstance(value, str) else value
        for name, value in said.items()
        if isinstance(value, str | int)
    }


def _short(text: str) -> str:
    """Somebody else's text has no end of its own."""
    return text if len(text) <= MOST_CHARS else text[:MOST_CHARS] + "…"


def _words_of(what: str, facts: Mapping[str, object]) -> str:
    return " ".join([what, *(f"{name}={_plain(value)}" for name, value in facts.items())])


def _plain(value: object) -> str:
    """A value that stays on its line and tells a terminal nothing."""
    text = str(value)
    return text if text.isprintable() else json.dumps(text)


def place(environ: Mapping[str, str], descriptor: int = _STDERR) -> dict[str, str | None]:
    """Where the diary can be read afterwards, for the status."""
    if is_journal(environ, descriptor):
        number = environ.get("INVOCATION_ID", "")
        return {"kind": "journal", "match": f"_SYSTEMD_INVOCATION_ID={number}"}
    if os.isatty(descriptor):
        return {"kind": "terminal"}
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return {"kind": "pipe"}
        return {"kind": "file", "path": _path_of(descriptor)}
    except OSError:
        return {"kind": "unknown"}


def _path_of(descriptor: int) -> str:
    """The path of an open file.

    Source:
        proc(5), "/proc/pid/fd"; fcntl(2) of macOS, ``F_GETPATH``.
    """
    if sys.platform == "darwin":
        raw = fcntl.fcntl(descriptor, _F_GETPATH, bytes(_MOST_PATH))
        return os.fsdecode(raw.partition(b"\0")[0])
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115  # a path is a text here


_F_GETPATH, _MOST_PATH = 50, 1024
