"""How a demonstration speaks: one line a step, a bar while bytes come, a table at the end.

Colour and moving lines are for terminals alone, and ``NO_COLOR`` is honoured; elsewhere the
same facts come as plain lines, one after the other.
"""

import shutil
from collections.abc import Mapping, Sequence
from typing import Literal, TextIO

_BAR_CELLS = 24
_QUARTERS = 4
_MB = 1e6


class Narrator:
    """Tells a story to a stream.

    Args:
        out: Where to.
        environ: Asked for ``NO_COLOR`` and ``TERM``.
    """

    def __init__(self, out: TextIO, environ: Mapping[str, str]) -> None:
        self._out = out
        self._is_live = out.isatty() and environ.get("TERM") != "dumb"
        self._is_coloured = self._is_live and not environ.get("NO_COLOR")
        self._open: Literal["", "bar", "speech"] = ""
        self._bar = ""
        self._quarter = -1

    def step(self, words: str) -> None:
        """Begin a step."""
        self._quarter = -1
        self._line(self._painted("1;36", f"> {words}"))

    def say(self, words: str) -> None:
        """Tell what happened."""
        self._line(f"  {words}")

    def good(self, words: str) -> None:
        """Tell what came out as it should."""
        self._line(f"  {self._painted('32', 'ok')} {words}")

    def bad(self, words: str) -> None:
        """Tell what did not."""
        self._line(f"  {self._painted('1;31', 'not as expected:')} {words}")

    def speak(self, piece: str) -> None:
        """Write a piece of somebody's speech at once, on the line that is open."""
        if not piece:
            return
        if self._open != "speech":
            self._end_line()
            self._out.write("  | ")
        self._open = "speech"
        self._out.write(self._painted("33", piece.replace("\n", "\n  | ")))
        self._out.flush()

    def progress(self, done_bytes: int, total_bytes: int, rate_bytes_s: float | None) -> None:
        """Show how far a download is: a moving bar, or a line each quarter."""
        ratio = min(done_bytes / total_bytes, 1.0) if total_bytes else 0.0
        rate = "" if rate_bytes_s is None else f", {rate_bytes_s / _MB:.1f} MB/s"
        words = f"{done_bytes / _MB:.1f} of {total_bytes / _MB:.1f} MB ({ratio:.0%}{rate})"
        if self._is_live:
            full = round(ratio * _BAR_CELLS)
            bar = "#" * full + "." * (_BAR_CELLS - full)
            wide = shutil.get_terminal_size().columns - 1
            self._draw(f"  [{bar}] {words}"[:wide])
        elif int(ratio * _QUARTERS) > self._quarter:
            self._quarter = int(ratio * _QUARTERS)
            self.say(words)

    def table(self, rows: Sequence[tuple[str, str, float]]) -> None:
        """Sum up: what was done, what came of it, and how many seconds it took."""
        if not rows:
            return
        first = max(len("step"), *(len(name) for name, _, _ in rows))
        second = max(len("what happened"), *(len(came) for _, came, _ in rows))
        rule = f"{'-' * first}  {'-' * second}  -------"
        self._line("")
        self._line(self._painted("1", f"{'step':<{first}}  {'what happened':<{second}}  seconds"))
        self._line(rule)
        for name, came, took_s in rows:
            self._line(f"{name:<{first}}  {came:<{second}}  {took_s:7.2f}")
        self._line(rule)
        whole_s = sum(took_s for _, _, took_s in rows)
        self._line(f"{'all':<{first}}  {'':<{second}}  {whole_s:7.2f}")

    def _draw(self, bar: str) -> None:
        """Put the bar in the place of the last one, if anything about it is new."""
        if self._open == "bar" and bar == self._bar:
            return
        if self._open == "speech":
            self._end_line()
        self._out.write(f"\r\x1b[2K{bar}")
        self._out.flush()
        self._open, self._bar = "bar", bar

    def _line(self, words: str) -> None:
        self._end_line()
        self._out.write(words + "\n")
        self._out.flush()

    def _end_line(self) -> None:
        if self._open:
            self._out.write("\n")
        self._open = ""

    def _painted(self, colour: str, words: str) -> str:
        return f"\x1b[{colour}m{words}\x1b[0m" if self._is_coloured else words
