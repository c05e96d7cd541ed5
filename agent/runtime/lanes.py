"""What waits to be sent on one line, in two lanes.

Statuses and heartbeats never wait behind chunks; chunks and the end of their request share a
lane, so an end never overtakes a chunk. A writer of chunks waits while too many bytes are
before it: that is how a slow socket slows an engine.
"""

import asyncio
from collections import deque
from collections.abc import Callable

MOST_FRAMES = 1024
"""Whoever leaves more than this unread is not listened to until it has read some."""


class Lanes:
    """Frames on their way out of one line.

    Attributes:
        chunks: Chunks that were queued so far.
        told: Called in the loop's next turn after frames came, and after the lanes were shut;
            ``None``: nobody listens yet.

    Args:
        room_bytes: Bytes of chunks that may wait before their writers do.
    """

    def __init__(self, *, room_bytes: int = 2**18) -> None:
        self.chunks = 0
        self.told: Callable[[], None] | None = None
        self._room_bytes = room_bytes
        self._control: deque[bytes] = deque()
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_shut = False
        self._is_telling = False
        self._fewer = asyncio.Event()
        self._room = asyncio.Event()

    def __len__(self) -> int:
        """How many frames wait."""
        return len(self._control) + len(self._chunks)

    @property
    def is_over(self) -> bool:
        """Whether nothing waits, and nothing more will."""
        return self._is_shut and not len(self)

    @property
    def has_room(self) -> bool:
        """Whether a chunk would be queued at once."""
        return self._waiting_bytes < self._room_bytes and not self._is_shut

    def put(self, frame: bytes, *, after_chunks: bool = False) -> None:
        """Queue a frame; ``after_chunks`` behind every chunk that waits now. Never waits."""
        if self._is_shut:
            return
        if after_chunks:
            self._queue(frame)
        else:
            self._control.append(frame)
            self._tell()

    async def put_chunk(self, frame: bytes) -> bool:
        """Queue a chunk, once there is room.

        Returns:
            ``False`` if the line was shut meanwhile: nobody will read it.
        """
        # looked at again after each wait: room for one lets every waiting writer go on
        while not self.has_room:
            if self._is_shut:
                return False
            self._room.clear()
            await self._room.wait()
        self.put_chunk_now(frame)
        return True

    def put_chunk_now(self, frame: bytes) -> None:
        """Queue a chunk; for whoever has just seen that there is room."""
        self.chunks += 1
        self._queue(frame)

    async def calm(self) -> None:
        """Wait while a peer that asks and does not read has too many frames to its credit."""
        while self._is_crowded and not self._is_shut:
            self._fewer.clear()
            await self._fewer.wait()

    def take(self, most_bytes: int) -> list[bytes]:
        """The next frames to send; none after the one that makes it so many bytes."""
        frames: list[bytes] = []
        taken_bytes = chunk_bytes = 0
        while taken_bytes < most_bytes:
            if self._control:
                frame = self._control.popleft()
            elif self._chunks:
                frame = self._chunks.popleft()
                chunk_bytes += len(frame)
            else:
                break
            frames.append(frame)
            taken_bytes += len(frame)
        self._waiting_bytes -= chunk_bytes
        if self._waiting_bytes < self._room_bytes:
            self._room.set()
        if not self._is_crowded:
            self._fewer.set()
        return frames

    def shut(self, *, drop: bool = False) -> None:
        """Take nothing more; ``drop`` what waits as well. Whoever waits for room is let go."""
        self._is_shut = True
        if drop:
            self._control.clear()
            self._chunks.clear()
        self._room.set()
        self._fewer.set()
        self._tell()

    @property
    def _is_crowded(self) -> bool:
        return len(self) > MOST_FRAMES

    def _queue(self, frame: bytes) -> None:
        self._chunks.append(frame)
        self._waiting_bytes += len(frame)
        if not self._is_telling:  # most come while others wait
            self._tell()

    def _tell(self) -> None:
        if self.told is not None and not self._is_telling:
            self._is_telling = True
            asyncio.get_running_loop().call_soon(self._told, self.told)

    def _told(self, told: Callable[[], None]) -> None:
        self._is_telling = False
        told()
