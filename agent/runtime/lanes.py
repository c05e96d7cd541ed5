"""What waits to be sent on one line, in two lanes.

Statuses and heartbeats never wait behind chunks; chunks and the end of their request share a
lane, so an end never overtakes a chunk. A writer of chunks waits while too many bytes are
before it: that is how a slow socket slows an engine.
"""

import asyncio
from collections import deque

MOST_FRAMES = 1024
"""Whoever leaves more than this unread is not listened to until it has read some."""


class Lanes:
    """Frames on their way out of one line.

    Args:
        room_bytes: Bytes of chunks that may wait before their writers do.
    """

    def __init__(self, *, room_bytes: int = 2**18) -> None:
        self._room_bytes = room_bytes
        self._control: deque[str] = deque()
        self._chunks: deque[str] = deque()
        self._waiting_bytes = 0
        self._is_shut = False
        self._wake = asyncio.Event()
        self._fewer = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        """How many frames wait."""
        return len(self._control) + len(self._chunks)

    @property
    def has_room(self) -> bool:
        """Whether a chunk would be queued at once."""
        return not self._is_shut and self._room.is_set()

    def put(self, frame: str, *, after_chunks: bool = False) -> None:
        """Queue a frame; ``after_chunks`` behind every chunk that waits now. Never waits."""
        if self._is_shut:
            return
        if after_chunks:
            self._queue_chunk(frame)
        else:
            self._control.append(frame)
        self._wake.set()

    async def put_chunk(self, frame: str) -> bool:
        """Queue a chunk, once there is room.

        Returns:
            ``False`` if the line was shut meanwhile: nobody will read it.
        """
        # looked at again after each wait: room for one lets every waiting writer go on
        while not self._room.is_set():
            await self._room.wait()
        return self.put_chunk_now(frame)

    def put_chunk_now(self, frame: str) -> bool:
        """Queue a chunk, if there is room and the line was not shut."""
        if not self.has_room:
            return False
        self._queue_chunk(frame)
        self._wake.set()
        return True

    async def calm(self) -> None:
        """Wait while a peer that asks and does not read has too many frames to its credit."""
        while self._is_crowded and not self._is_shut:
            self._fewer.clear()
            await self._fewer.wait()

    async def take(self) -> str | None:
        """The next frame to send; ``None`` once the lanes are shut and empty."""
        while not (frames := self.take_now(1)):
            if self._is_shut:
                return None
            self._wake.clear()
            await self._wake.wait()
        return frames[0]

    def take_now(self, most_bytes: int) -> list[str]:
        """The next frames to send of those that wait; none after the one that makes it so many."""
        frames: list[str] = []
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
        self._wake.set()
        self._fewer.set()

    @property
    def _is_crowded(self) -> bool:
        return len(self) > MOST_FRAMES

    def _queue_chunk(self, frame: str) -> None:
        self._chunks.append(frame)
        self._waiting_bytes += len(frame)
        if self._waiting_bytes >= self._room_bytes and not self._is_shut:
            self._room.clear()
