"""Where in a TOML text each key and its value stand.

``tomllib`` tells no places, and an error without a line is half an error. This reader takes a
text that ``tomllib`` has accepted, so it checks nothing; it only has to find keys, walk over
values, and count.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from types import MappingProxyType

from .frozen import frozen

KeyPath = tuple[str | int, ...]
"""Keys and array indexes from the root, such as ``("models", 0, "ref")``."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\r\n]*")
_QUOTES = ('"""', "'''", '"', "'")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_LETTERS = MappingProxyType({"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"})


@frozen
class Spot:
    """Where one key stands, as offsets into the text, in characters.

    Attributes:
        key: Where the key, its table's header or the array's item begins.
        start: Where its value begins; ``key`` again for a table with a header.
        end: Where its value ends; ``start`` again for a table with a header.
        is_header: Whether it is a table that a line in brackets opens.
    """

    key: int
    start: int
    end: int
    is_header: bool = False


class Lines:
    """Offsets of one text as lines and columns, 1 for the first of each."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def at(self, offset: int) -> tuple[int, int]:
        """The line and the column of a character."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def offset(self, line: int, column: int) -> int:
        """The character that is there."""
        return self._starts[line - 1] + column - 1


def spots(text: str) -> Mapping[KeyPath, Spot]:
    """Find every table, key and array item, in the order in which they are named first.

    Args:
        text: TOML that ``tomllib.loads`` accepts.
    """
    reader = _Reader(text)
    reader.read()
    return reader.spots


def said_again(text: str) -> tuple[KeyPath, int, int] | None:
    """The last key that has a value for the second time.

    Args:
        text: TOML up to the place where ``tomllib`` will have no more of it.

    Returns:
        Its path, and the offsets of the first and of the last time; ``None`` if there is none.
    """
    reader = _Reader(text)
    reader.read()
    return reader.again


class _Reader:
    """Walks over one text, once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._tables: dict[KeyPath, int] = {}  # how many [[tables]] of this name so far
        self.spots: dict[KeyPath, Spot] = {}
        self.again: tuple[KeyPath, int, int] | None = None

    def read(self) -> None:
        prefix: KeyPath = ()
        self._skip_blank()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                prefix = self._header()
            else:
                self._pair(prefix)
            self._skip_blank()

    def _header(self) -> KeyPath:
        start = self._at
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        keys = self._keys()
        self._at += 2 if is_array else 1
        path: KeyPath = ()
        for nth, (key, _) in enumerate(keys, 1):
            is_last = nth == len(keys)
            here = Spot(start, start, start, is_header=is_last)
            path = (*path, key)
            known = self.spots.setdefault(path, here)
            if is_last and not known.is_header and known.start == known.end:
                self.spots[path] = here  # so far it was only on the way to another table
            if is_array and is_last:
                self._tables[path] = self._tables.get(path, 0) + 1
            if path in self._tables:
                path = (*path, self._tables[path] - 1)
                self.spots.setdefault(path, here)
        return path

    def _pair(self, prefix: KeyPath) -> None:
        path = prefix
        for key, at in self._keys():
            path = (*path, key)
            known = self.spots.setdefault(path, Spot(at, at, at))
            if known.start != known.end:
                self.again = (path, known.key, at)
        self._at += 1  # the equals sign
        self._skip_blank()
        self._value(path)

    def _keys(self) -> list[tuple[str, int]]:
        keys: list[tuple[str, int]] = []
        while True:
            self._skip_blank()
            start = self._at
            bare = _BARE.match(self._text, self._at)
            keys.append((self._string() if bare is None else bare[0], start))
            self._at = self._at if bare is None else bare.end()
            self._skip_blank()
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        start = self._at
        first = self._text[start : start + 1]
        if first == "[":
            self._items(path)
        elif first == "{":
            self._inline(path)
        elif first in {'"', "'"}:
            self._string()
        else:
            self._at = start + len(_matched(_SCALAR, self._text, start).rstrip())
        self.spots[path] = Spot(self.spots[path].key, start, self._at)

    def _items(self, path: KeyPath) -> None:
        self._at += 1
        self._skip_blank()
        nth = 0
        while not self._closes("]"):
            self.spots.setdefault((*path, nth), Spot(self._at, self._at, self._at))
            self._value((*path, nth))
            self._skip_comma()
            nth += 1

    def _inline(self, path: KeyPath) -> None:
        self._at += 1
        self._skip_blank()
        while not self._closes("}"):
            self._pair(path)
            self._skip_comma()

    def _string(self) -> str:
        quote = next(mark for mark in _QUOTES if self._text.startswith(mark, self._at))
        start = self._at + len(quote)
        end = start
        while self._text[end : end + len(quote)] != quote and end < len(self._text):
            end += 2 if self._text[end] == "\\" and quote[0] == '"' else 1
        self._at = end + len(quote)
        # up to two quotes may stand before the closing three
        while len(quote) > 1 and self._text.startswith(quote[0], self._at):
            self._at += 1
        inside = self._text[start:end]
        return _ESCAPE.sub(_unescaped, inside) if quote[0] == '"' else inside

    def _closes(self, mark: str) -> bool:
        is_end = self._at >= len(self._text) or self._text[self._at] == mark
        self._at += is_end
        return is_end

    def _skip_comma(self) -> None:
        self._skip_blank()
        self._at += self._text.startswith(",", self._at)
        self._skip_blank()

    def _skip_blank(self) -> None:
        self._at += len(_matched(_BLANK, self._text, self._at))


def _matched(pattern: re.Pattern[str], text: str, at: int) -> str:
    found = pattern.match(text, at)
    return "" if found is None else found[0]


def _unescaped(found: re.Match[str]) -> str:
    body = found[1]
    if len(body) > 1:
        return chr(int(body[1:], 16))
    return _LETTERS.get(body, body)
