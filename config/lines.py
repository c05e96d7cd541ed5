"""On which line of a TOML text each key stands.

``tomllib`` tells no lines, and an error without a line is half an error. This reader takes a
text that ``tomllib`` has accepted, so it checks nothing; it only has to find keys, walk over
values, and count.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

KeyPath = tuple[str | int, ...]
"""Keys and array indexes from the root, such as ``("models", 0, "ref")``."""

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_QUOTES = ('"""', "'''", '"', "'")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_LETTERS = MappingProxyType({"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"})


def key_lines(text: str) -> Mapping[KeyPath, int]:
    """Find the line of every table, key and array item.

    Args:
        text: TOML that ``tomllib.loads`` accepts.

    Returns:
        The line, 1 for the first, on which each path is named first.
    """
    reader = _Reader(text.replace("\r\n", "\n"))
    reader.read()
    return reader.lines


class _Reader:
    """Walks over one text, once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted_to = 0
        self._tables: dict[KeyPath, int] = {}  # how many [[tables]] of this name so far
        self.lines: dict[KeyPath, int] = {}

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
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        line = self._line_here()
        keys = self._keys()
        self._at += 2 if is_array else 1
        path: KeyPath = ()
        for nth, key in enumerate(keys, 1):
            path = (*path, key)
            self.lines.setdefault(path, line)
            if is_array and nth == len(keys):
                self._tables[path] = self._tables.get(path, 0) + 1
            if path in self._tables:
                path = (*path, self._tables[path] - 1)
                self.lines.setdefault(path, line)
        return path

    def _pair(self, prefix: KeyPath) -> None:
        path, line = prefix, self._line_here()
        for key in self._keys():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip_blank()
        self._value(path)

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip_blank()
            bare = _BARE.match(self._text, self._at)
            keys.append(self._string() if bare is None else bare[0])
            self._at = self._at if bare is None else bare.end()
            self._skip_blank()
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        first = self._text[self._at : self._at + 1]
        if first == "[":
            self._items(path)
        elif first == "{":
            self._inline(path)
        elif first in {'"', "'"}:
            self._string()
        else:
            self._at = _end(_SCALAR, self._text, self._at)

    def _items(self, path: KeyPath) -> None:
        self._at += 1
        self._skip_blank()
        nth = 0
        while not self._closes("]"):
            self.lines.setdefault((*path, nth), self._line_here())
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
        self._at = _end(_BLANK, self._text, self._at)

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._line


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _unescaped(found: re.Match[str]) -> str:
    body = found[1]
    if len(body) > 1:
        return chr(int(body[1:], 16))
    return _LETTERS.get(body, body)
