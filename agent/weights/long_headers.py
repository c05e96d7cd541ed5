"""A safetensors header that is too long to be held at once, read piece by piece.

The format lets a header be 100 MB long, and one that is made to do harm takes 25 times as much
memory once it is parsed. So a long one is read through a window: one entry at a time is there,
and the metadata are passed over.
"""

import codecs
import json
from collections.abc import Iterator
from typing import BinaryIO

from ...config.patterns import pattern

_WINDOW_BYTES = 2**18
_MOST_ENTRY_CHARS = 2**16
_BLANKS = pattern(r"[ \t\n\r]*")
_MARK = pattern(r'["\\\x00-\x1f]')
_ESCAPES = frozenset("\\" + letter for letter in '"\\/bfnrtu')


def entries(
    file: BinaryIO, header_bytes: int, decoder: json.JSONDecoder
) -> Iterator[tuple[str, object]]:
    """Each tensor's name, and what stands behind it.

    Args:
        file: Read up to the header's end.
        header_bytes: How many bytes that is.
        decoder: Reads what stands behind a name.

    Raises:
        ValueError: It is no JSON object of such entries, or one of them is far too long.
        RecursionError: An entry is nested too deep.
    """
    window = _Window(file, header_bytes, decoder)
    if window.has_blanks():
        raise ValueError("the header does not begin with a brace")  # noqa: EM101, TRY003
    window.expect("{")
    if window.peek() != "}":
        yield from _rows(window)
    window.expect("}")
    if window.peek():
        raise ValueError("something stands behind the header's last brace")  # noqa: EM101, TRY003


def _rows(window: "_Window") -> Iterator[tuple[str, object]]:
    has_metadata = False
    while True:
        name = str(window.value('"'))
        window.expect(":")
        if name != "__metadata__":
            yield name, window.value("{")
        elif has_metadata:
            raise ValueError("the header has metadata twice")  # noqa: EM101, TRY003
        else:
            has_metadata = True
            _pass_metadata(window)
        if window.peek() == "}":
            return
        window.expect(",")


def _pass_metadata(window: "_Window") -> None:
    window.expect("{")
    is_more = window.peek() != "}"
    while is_more:
        window.pass_text()
        window.expect(":")
        window.pass_text()
        is_more = window.peek() != "}"
        if is_more:
            window.expect(",")
    window.expect("}")


class _Window:
    """What was read of the header and is not passed yet."""

    def __init__(self, file: BinaryIO, header_bytes: int, decoder: json.JSONDecoder) -> None:
        self._file = file
        self._left_bytes = header_bytes
        self._decoder = decoder
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            found = _BLANKS.match(self._text, self._at)
            self._at = self._at if found is None else found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def has_blanks(self) -> bool:
        """Whether blanks come next."""
        before = self._at
        return bool(self.peek()) and self._at != before

    def expect(self, mark: str) -> None:
        """Pass one character."""
        if self.peek() != mark:
            message = f"the header has no {mark} where one should be"
            raise ValueError(message)
        self._at += 1

    def value(self, mark: str) -> object:
        """The next value, which begins so and therefore tells its own end."""
        self.expect(mark)
        self._at -= 1
        while True:
            try:
                found, self._at = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if len(self._text) - self._at > _MOST_ENTRY_CHARS or not self._more():
                    raise
            else:
                return found

    def pass_text(self) -> None:
        """Pass a text of any length, without having it."""
        self.expect('"')
        while True:
            found = _MARK.search(self._text, self._at)
            if found is None:
                self._at = len(self._text)
            elif found[0] == '"':
                self._at = found.end()
                return
            elif found.end() == len(self._text):
                self._at = found.start()
            elif found[0] + self._text[found.end()] in _ESCAPES:
                self._at = found.end() + 1
                continue
            else:
                raise ValueError("a text holds what no JSON does")  # noqa: EM101, TRY003
            if not self._more():
                raise ValueError("the header ends within a text")  # noqa: EM101, TRY003

    def _more(self) -> bool:
        """Move the window on; nothing more comes at the header's end."""
        data = self._file.read(min(_WINDOW_BYTES, self._left_bytes))
        self._left_bytes -= len(data)
        is_last = not data or not self._left_bytes
        self._text = self._text[self._at :] + self._utf8.decode(data, final=is_last)
        self._at = 0
        return bool(data)
