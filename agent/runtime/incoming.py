"""A client's connection that takes short texts off the wire by itself.

Whatever is not a whole, plain text goes to the library as it came, frame by frame: pings, closes,
messages in pieces or longer than what was read at once, and everything that breaks the rules. The
library is given whole heads only, so that it is always known how much of a frame it still waits
for. Order, and the pause while too much is unread, are the library's in both cases.
"""

from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from ..wire.server_frames import begins_pieces, ends_pieces, extent, is_plain, short_texts

_HEAD_ENDS = b"\r\n\r\n"


class Incoming(ClientConnection):
    """The library's connection, with a shorter way for what a coordinator says most."""

    _answer: bytes | None = b""
    _head = b""
    _missing = 0
    _is_in_pieces = False

    async def several(self, most: int) -> list[bytes]:
        """The next message, and whole texts that came right after it: so many at the most.

        Raises:
            ConnectionClosed: The line has ended.
        """
        messages = [await self.recv(decode=False)]
        waiting = self.recv_messages.frames.queue
        while waiting and len(messages) < most:
            frame = waiting[0]
            if not frame.fin or frame.opcode is not Opcode.TEXT:
                break
            messages.append(bytes(waiting.popleft().data))
        self.recv_messages.maybe_resume()
        return messages

    def data_received(self, data: bytes) -> None:
        """Bytes came: first the answer to the handshake, then frames."""
        if self._answer is not None:
            data = self._past_answer(self._answer, data)
        if data:
            self._take(self._head + data)

    def _past_answer(self, before: bytes, data: bytes) -> bytes:
        """Give the library the answer to the handshake; what comes after it is returned."""
        ends = (before + data).find(_HEAD_ENDS)
        if ends < 0:
            self._answer = (before + data)[1 - len(_HEAD_ENDS) :]
            super().data_received(data)
            return b""
        at = ends + len(_HEAD_ENDS) - len(before)
        self._answer = None
        super().data_received(data[:at])
        return data[at:]

    def _take(self, data: bytes) -> None:
        at, self._head = 0, b""
        while at < len(data):
            if self.protocol.state is not State.OPEN:
                super().data_received(data[at:])  # no answer to our handshake, or an end
                return
            if self._missing:
                ends = min(len(data), at + self._missing)
                self._missing -= ends - at
                super().data_received(data[at:ends])
                at = ends
                continue
            if not self._is_in_pieces:
                texts, at = short_texts(data, at)
                for text in texts:
                    self.recv_messages.put(Frame(Opcode.TEXT, text))
            found = extent(data, at)
            if found is None:
                self._head = data[at:]
                return
            begin, ends = found
            if ends <= len(data) and is_plain(data, at) and not self._is_in_pieces:
                self.recv_messages.put(Frame(Opcode.TEXT, data[begin:ends]))
                at = ends
                continue
            self._is_in_pieces = begins_pieces(data, at) or (
                self._is_in_pieces and not ends_pieces(data, at)
            )
            self._missing = ends - at
