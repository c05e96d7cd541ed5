"""A fetch's progress for whoever waits: one living line on a terminal, else one every 2 s."""

from typing import TextIO

from ...backends.stores.base import Progress
from .render import percent, size, time_left

LINE_EVERY_S = 2.0
_BAR_CELLS = 24


class Bar:
    """Draws progress on a stream.

    Args:
        stream: Standard error, as a rule.
        name: What is being fetched.
        is_live: Whether a line may be drawn over; ``None``: if the stream is a terminal.
    """

    def __init__(self, stream: TextIO, name: str, *, is_live: bool | None = None) -> None:
        self._stream = stream
        self._name = name
        self._is_live = stream.isatty() if is_live is None else is_live
        self._drawn_s: float | None = None
        self._undrawn: Progress | None = None
        self._width = 0

    def told(self, progress: Progress, now_s: float) -> None:
        """Take a progress; draw it if it is time."""
        is_due = self._drawn_s is None or now_s - self._drawn_s >= LINE_EVERY_S
        if self._is_live:
            text = self.text(progress)
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        elif is_due:
            self._drawn_s = now_s
            self._say(progress)
        self._undrawn = None if is_due else progress
        self._stream.flush()

    def close(self) -> None:
        """Leave a living line behind, or say the last that was not said yet."""
        if self._is_live and self._width:
            self._stream.write("\n")
        elif not self._is_live and self._undrawn is not None:
            self._say(self._undrawn)
        self._stream.flush()

    def text(self, progress: Progress) -> str:
        """One progress in words."""
        if not progress.bytes_total:
            return f"{progress.phase or 'list'} …"
        done_ratio = min(1.0, progress.bytes_done / progress.bytes_total)
        filled = int(done_ratio * _BAR_CELLS)
        parts = [f"[{'#' * filled}{'.' * (_BAR_CELLS - filled)}]"] if self._is_live else []
        parts += [
            f"{progress.phase or 'fetch'} {percent(done_ratio)}",
            f"{size(progress.bytes_done)} of {size(progress.bytes_total)}",
        ]
        if progress.rate_bytes_s is not None:
            parts.append(f"{size(progress.rate_bytes_s)}/s")
        if progress.eta_s is not None:
            parts.append(f"ETA {time_left(progress.eta_s)}")
        if own := progress.bytes_resumed - progress.bytes_reused:
            parts.append(f"{size(own)} were here")
        if progress.bytes_reused:
            parts.append(f"{size(progress.bytes_reused)} taken over")
        if progress.bytes_peers:
            parts.append(f"{size(progress.bytes_peers)} from peers")
        return "  ".join(parts)

    def _say(self, progress: Progress) -> None:
        self._stream.write(f"{self._name}: {self.text(progress)}\n")
