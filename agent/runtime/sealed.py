"""The way of one answer over the line: each piece in a box of its own, for whoever asked."""

import os
from typing import Protocol

from ..wire.codec import chunk_head, encode_chunk
from ..wire.sealing import NONCE_BYTES, RequestBox


class Lane(Protocol):
    """Where the chunks of a line wait to be sent."""

    @property
    def has_room(self) -> bool:
        """Whether a chunk would be queued at once."""
        ...

    def put_chunk_now(self, frame: bytes) -> None:
        """Queue a chunk; for whoever has just seen that there is room."""
        ...

    async def put_chunk(self, frame: bytes) -> bool:
        """Queue a chunk once there is room; ``False`` if the line is gone."""
        ...


class Sealed:
    """Seals the lines of an answer and queues them on the line that its request came by.

    Args:
        request_id: As it came in the request.
        public_key: The node's, as it is registered.
        box: Of the request.
        lane: Of its line.
    """

    __slots__ = ("_box", "_head", "_lane")

    def __init__(self, request_id: str, public_key: str, box: RequestBox, lane: Lane) -> None:
        self._head = chunk_head(request_id, public_key)
        self._box = box
        self._lane = lane

    def now(self, line: bytes) -> bool:
        """See :meth:`.relay.Carrier.now`; nothing is sealed for which there is no room."""
        if not self._lane.has_room:
            return False
        self._lane.put_chunk_now(self._frame(line))
        return True

    async def carry(self, line: bytes) -> bool:
        """See :meth:`.relay.Carrier.carry`."""
        return await self._lane.put_chunk(self._frame(line))

    def _frame(self, line: bytes) -> bytes:
        return encode_chunk(self._head, self._box.seal(line, os.urandom(NONCE_BYTES)))
