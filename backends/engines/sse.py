"""Server-sent events, read from bytes as they come (pure).

Source:
    The HTML standard, "Server-sent events", 9.2.6: how a stream is parsed. ``id`` and ``retry``
    speak of coming back, which nobody does here; they are read over.
"""

from dataclasses import field

from ...config.frozen import frozen

LIMIT_BYTES = 8 * 2**20
"""One event; an engine that says more in one breath is not believed."""

_BOM = b"\xef\xbb\xbf"


class SseBroken(ValueError):
    """What came is no stream of events; the text quotes nothing of it."""


@frozen
class ServerEvent:
    """One event.

    Attributes:
        data: All its data lines, joined by line feeds.
        name: What its ``event`` line says.
    """

    data: str = field(repr=False)
    name: str = "message"


class EventReader:
    """Bytes in, events out, however the bytes were cut.

    An event that the stream's end cuts short never comes out.

    Args:
        limit_bytes: Most that one event may have.
    """

    def __init__(self, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = b""
        self._is_first = True
        self._is_after_return = False

    def feed(self, data: bytes) -> list[ServerEvent]:
        """The events that end within these bytes.

        Raises:
            SseBroken: An event is too long, or not UTF-8.
        """
        events: list[ServerEvent] = []
        for line in self._lines(data):
            if line:
                self._take(line)
            elif self._data:
                events.append(self._event())
            else:
                self._name = b""
        return events

    def _lines(self, data: bytes) -> list[bytes]:
        if self._is_after_return and data:
            # a line's end that was cut in half
            data = data.removeprefix(b"\n")
            self._is_after_return = False
        if b"\r" in data:
            self._is_after_return = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._rest += data
        if len(self._rest) + self._data_bytes > self._limit_bytes + len(data):
            problem = "an event is too long"
            raise SseBroken(problem)
        if b"\n" not in data:
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        if self._is_first:
            self._is_first = False
            lines[0] = lines[0].removeprefix(_BOM)
        return lines

    def _take(self, line: bytes) -> None:
        field_name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field_name == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
            if self._data_bytes > self._limit_bytes:
                problem = "an event is too long"
                raise SseBroken(problem)
        elif field_name == b"event":
            self._name = value

    def _event(self) -> ServerEvent:
        try:
            data, name = b"\n".join(self._data).decode(), self._name.decode()
        except UnicodeDecodeError:
            problem = "an event is not UTF-8"
            raise SseBroken(problem) from None
        self._data.clear()
        self._data_bytes, self._name = 0, b""
        return ServerEvent(data, name or "message")
