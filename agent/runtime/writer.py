"""From the lanes of a line into its socket.

What comes is written in the loop's next turn, without waking a task, as long as the socket takes
it; a task is there for the times in which it does not, and for the goodbye.
"""

import asyncio
import os

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from ..wire.client_frames import KEY_BYTES, text_frames
from .lanes import Lanes

JOINED_BYTES = 2**16
"""So much is handed to the socket at once; then there has to be room in it again."""


class Writer:
    """Sends frames in their order.

    Args:
        lanes: What waits.
        connection: Where it goes.
    """

    def __init__(self, lanes: Lanes, connection: ClientConnection) -> None:
        self._lanes = lanes
        self._connection = connection
        self._is_wanted = asyncio.Event()
        lanes.told = self._write
        self._write()

    async def run(self) -> None:
        """Send what has to wait for room; when the lanes are shut and empty, say goodbye."""
        lanes, connection = self._lanes, self._connection
        try:
            while not lanes.is_over:
                await self._is_wanted.wait()
                self._is_wanted.clear()
                while len(lanes):
                    # this waits for room in the socket, or for the end of the line, and tells it
                    async with connection.send_context():
                        self._hand_over()
            await connection.close(1000)
        except ConnectionClosed:
            # nothing is read from the lanes any more, so nobody may wait for room in them
            lanes.shut(drop=True)
        except AttributeError:
            # websockets on Python 3.11: closing over a transport that was aborted meanwhile
            lanes.shut(drop=True)

    def _write(self) -> None:
        """Write what the socket takes at once; the rest, and the end, are the task's."""
        is_open = self._connection.state is State.OPEN
        if is_open and not self._connection.transport.get_write_buffer_size():
            self._hand_over()
        if len(self._lanes) or self._lanes.is_over:
            self._is_wanted.set()

    def _hand_over(self) -> None:
        """Write what is next in one piece: a call for each frame costs more than sealing it."""
        frames = self._lanes.take(JOINED_BYTES)
        if frames:
            data = text_frames(frames, os.urandom(KEY_BYTES * len(frames)))
            self._connection.transport.write(data)
