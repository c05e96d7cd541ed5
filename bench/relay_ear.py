"""A coordinator's end of the line that takes chunks off the wire by their heads alone.

What the library does for each text is work of this machine, and what a benchmark takes of it, the
engine beside it lacks.

Source: RFC 6455, section 5.2.
"""

from collections.abc import Callable

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State
from websockets.speedups import apply_mask

Keep = Callable[[str, bytes, bytes], None]
"""Takes a chunk: its request, its mask, and its text as it came, masked."""

_CHUNK = b'{"type":"inference_response_chunk","request_id":"'
_LOOK_BYTES, _HEAD_BYTES, _MASK_BYTES = 96, 2, 4
_WHOLE_TEXT = 0x81
_MORE_BYTES = {126: 2, 127: 8}


def ear_of(keep: Keep) -> type[ServerConnection]:
    """A connection that gives its chunks to ``keep``, and all else to the library."""

    class Ear(ServerConnection):
        _kept = b""

        def data_received(self, data: bytes) -> None:
            if self.protocol.state is not State.OPEN:
                super().data_received(data)
                return
            data, at = self._kept + data, 0
            while (cut := _cut(data, at)) is not None:
                begin, end = cut
                mask, masked = data[begin - _MASK_BYTES : begin], data[begin:end]
                name = _request(mask, masked) if data[at] == _WHOLE_TEXT else None
                if name is None:
                    super().data_received(data[at:end])
                else:
                    keep(name, mask, masked)
                at = end
            self._kept = data[at:]

    return Ear


def _cut(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame there begins and ends, if all of it came."""
    if len(data) - at < _HEAD_BYTES:
        return None
    length, head = data[at + 1] & 127, at + _HEAD_BYTES
    more = _MORE_BYTES.get(length, 0)
    begin = head + more + _MASK_BYTES
    end = begin + (int.from_bytes(data[head : head + more], "big") if more else length)
    return (begin, end) if end <= len(data) else None


def _request(mask: bytes, masked: bytes) -> str | None:
    """Whose chunk this is, if it is one."""
    head = apply_mask(masked[:_LOOK_BYTES], mask)
    if not head.startswith(_CHUNK):
        return None
    return head[len(_CHUNK) : head.index(b'"', len(_CHUNK))].decode()
