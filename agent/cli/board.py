"""A picture that is drawn anew each second: over itself on a terminal, one after another elsewhere.

Each frame is written in one piece from the upper left corner, over what was there and not
after clearing it, so nothing flickers on a slow line. The terminal gets its own screen for as
long as the board lives, and its old one back however the board ends.
"""

import os
import re
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TextIO

from .render import sparkline

EVERY_S = 1.0
_NAP_S = 0.1
_SPARKS = 40

_OPEN, _CLOSE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_FRAME, _FRAMED = "\x1b[?2026h\x1b[H", "\x1b[J\x1b[?2026l"
"""Source: xterm, "Alternate Screen Buffer"; the synchronised output of DEC mode 2026."""

_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")

Look = Callable[[], tuple[Sequence[str], int]]
"""What to draw now, and the exit code that it means."""


class Sparks:
    """Tokens a second from a count that grows, which a node reads at its heartbeats only."""

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=_SPARKS)
        self._at: tuple[float, float] | None = None

    def told(self, count: float | None, now_s: float) -> None:
        """Take a reading; one that is as before says nothing yet."""
        if count is None:
            self._at = None
            self._rates.append(0.0)
            return
        before = self._at
        if before is None or count < before[1]:
            self._at = (now_s, count)
            self._rates.append(0.0)
            return
        waited_s = now_s - before[0]
        is_news = count > before[1] or waited_s >= _SILENCE_S
        rate = (count - before[1]) / waited_s if is_news and waited_s > 0 else self.rate
        if is_news:
            self._at = (now_s, count)
        self._rates.append(rate)

    @property
    def rate(self) -> float:
        """The latest."""
        return self._rates[-1] if self._rates else 0.0

    def text(self, *, is_ascii: bool) -> str:
        """The last of them as bars, and the latest as a number."""
        return f"{sparkline([*self._rates], is_ascii=is_ascii)} {self.rate:.0f} tokens/s"


_SILENCE_S = 8.0
"""Heartbeats come every five seconds: a count that rests longer than this rests indeed."""


def watch(look: Look, out: TextIO | None = None, every_s: float = EVERY_S) -> int:
    """Draw until interrupted.

    Args:
        look: Called for each frame.
        out: Where to; standard output if not said.
        every_s: Seconds from one frame to the next.

    Returns:
        The exit code of the last frame.
    """
    stream = out or sys.stdout
    code = 0
    try:
        with _screen(stream) as is_live:
            while True:
                lines, code = look()
                _wait(stream, lines, every_s, _draw(stream, lines, is_live=is_live))
    except KeyboardInterrupt:
        return code


def is_narrow(stream: TextIO) -> bool:
    """Whether it knows no block characters."""
    return "utf" not in (stream.encoding or "").lower()


def frame(lines: Sequence[str], columns: int, rows: int) -> str:
    """Lines as one picture that fits: nothing wraps, nothing scrolls."""
    shown = [*lines[:rows]]
    if len(lines) > rows > 0:
        shown[-1] = f"… and {len(lines) - rows + 1} more line(s)"
    body = "\r\n".join(f"{clipped(line, columns)}\x1b[K" for line in shown)
    return f"{_FRAME}{body}{_FRAMED}"


def clipped(line: str, columns: int) -> str:
    """A line of at most so many characters; colours take no room and are closed again."""
    left, parts = columns, list[str]()
    for part in _COLOUR.split(line):
        if _COLOUR.fullmatch(part):
            parts.append(part)
        else:
            parts.append(part[:left])
            left -= len(parts[-1])
    return "".join(parts)


@contextmanager
def _screen(stream: TextIO) -> Generator[bool]:
    """The terminal's second screen, if it is one; whether it is."""
    if not stream.isatty():
        yield False
        return
    asked = [signal.SIGTERM, signal.SIGHUP]
    before = [signal.signal(number, signal.default_int_handler) for number in asked]
    stream.write(_OPEN)
    try:
        yield True
    finally:
        stream.write(_CLOSE)
        stream.flush()
        for number, handler in zip(asked, before, strict=True):
            signal.signal(number, handler)


def _draw(stream: TextIO, lines: Sequence[str], *, is_live: bool) -> os.terminal_size | None:
    """Draw; the size that it was drawn for, if it is a terminal's."""
    size = _size(stream) if is_live else None
    if size is None:
        stream.write("\n".join(lines) + "\n")
    else:
        stream.write(frame(lines, size.columns, size.lines))
    stream.flush()
    return size


def _wait(
    stream: TextIO, lines: Sequence[str], every_s: float, size: os.terminal_size | None
) -> None:
    """Until the next frame; a terminal that changes its size is drawn at once."""
    until_s = time.monotonic() + every_s
    while (left_s := until_s - time.monotonic()) > 0:
        time.sleep(min(left_s, _NAP_S))
        if size is not None and _size(stream) != size:
            size = _draw(stream, lines, is_live=True)


def _size(stream: TextIO) -> os.terminal_size:
    try:
        found = os.get_terminal_size(stream.fileno())
    except OSError:
        found = os.terminal_size((0, 0))
    return found if found.columns and found.lines else shutil.get_terminal_size()
