"""One request on its way: sealed out, opened in, handed to whoever writes to the client.

Each request has a key pair of its own. What comes back has to be sealed with the provider's
registered key and name it; anything else ends the provider's trust and the request with it.
"""

import asyncio
import binascii
from collections.abc import AsyncIterator
from dataclasses import field
from http import HTTPStatus
from typing import TypeAlias

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey

from ...config.frozen import frozen
from .answers import Json, has_content, read_chunk
from .strict import Accepted, Chunk, Complete, Failed

MOST_WAITING = 256
"""Chunks that wait for a slow client; what comes beyond them is dropped."""

MOST_HELD = 8
"""Chunks without content that are held back before the client is told anything."""


@frozen
class Piece:
    """A chunk, opened. Not shown in a repr."""

    fields: Json = field(repr=False)


@frozen
class Finished:
    """The answer is whole; ``usage`` is in tokens."""

    usage: dict[str, int]


@frozen
class Failure:
    """There is no answer, or no more of it.

    Attributes:
        status: As the provider sent it, or the coordinator's own.
        error: Words that the client will read.
    """

    status: int
    error: str


Step: TypeAlias = Piece | Finished | Failure

DISCONNECTED = Failure(HTTPStatus.BAD_GATEWAY, "provider disconnected")
TIMED_OUT = Failure(HTTPStatus.GATEWAY_TIMEOUT, "provider timed out")
BREACH = Failure(HTTPStatus.BAD_GATEWAY, "provider sent an unsealed answer")


class Breach(Exception):
    """A chunk that was not sealed as it must be."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(reason)


class Exchange:
    """One request's keys, and the steps of its answer in order.

    Args:
        public_key: The provider's, as registered; 32 bytes in base64.
        accept_wait_s: How long the first frame may take.
        chunk_wait_s: How long each frame may take once the request is accepted.
    """

    def __init__(self, *, public_key: str, accept_wait_s: float, chunk_wait_s: float) -> None:
        secret = PrivateKey.generate()
        self._theirs = public_key
        self._ours = _text(bytes(secret.public_key))
        self._box = Box(secret, PublicKey(binascii.a2b_base64(public_key)))
        self._steps: asyncio.Queue[Step | Accepted] = asyncio.Queue()
        self._wait_s = accept_wait_s
        self._chunk_wait_s = chunk_wait_s

    def seal(self, plaintext: bytes) -> Json:
        """The body of an ``inference_request``."""
        return {
            "ephemeral_public_key": self._ours,
            "ciphertext": _text(self._box.encrypt(plaintext)),
        }

    def hear(self, frame: Accepted | Chunk | Complete | Failed) -> bool:
        """Take one frame of the answer.

        Returns:
            Whether it was kept; a chunk is not when too many wait already.

        Raises:
            Breach: A chunk is in the clear, names another key, or does not open.
        """
        match frame:
            case Accepted():
                self._steps.put_nowait(frame)
            case Chunk():
                opened = self._open(frame)
                if self._steps.qsize() >= MOST_WAITING:
                    return False
                if opened is not None:
                    self._steps.put_nowait(Piece(opened))
            case Complete():
                self._steps.put_nowait(Finished(frame.usage.model_dump()))
            case Failed():
                self._steps.put_nowait(Failure(frame.status_code, frame.error))
        return True

    def fail(self, failure: Failure) -> None:
        """End it from this side."""
        self._steps.put_nowait(failure)

    def _open(self, chunk: Chunk) -> Json | None:
        if chunk.data or chunk.encrypted_data is None:
            raise Breach(reason="chunk in the clear")
        if chunk.encrypted_data.ephemeral_public_key != self._theirs:
            raise Breach(reason="chunk names another key")
        try:
            raw = binascii.a2b_base64(chunk.encrypted_data.ciphertext, strict_mode=True)
            return read_chunk(self._box.decrypt(raw))
        except (CryptoError, ValueError):
            raise Breach(reason="chunk does not open") from None

    async def next(self) -> Step:
        """The next step; an accepted request only earns more patience."""
        while True:
            try:
                async with asyncio.timeout(self._wait_s):
                    step = await self._steps.get()
            except TimeoutError:
                return TIMED_OUT
            self._wait_s = self._chunk_wait_s
            if not isinstance(step, Accepted):
                return step

    async def opening(self) -> list[Step]:
        """The first steps, until there is something to tell the client.

        Returns:
            At least one step. The last is a piece with content, the end, or one piece too
            many without content.
        """
        held: list[Step] = []
        while True:
            step = await self.next()
            held.append(step)
            if not isinstance(step, Piece) or has_content(step.fields) or len(held) > MOST_HELD:
                return held

    async def steps(self, held: list[Step]) -> AsyncIterator[Step]:
        """Everything from the beginning; the last step is no :class:`Piece`."""
        for step in held:
            yield step
        while isinstance(held[-1], Piece):
            step = await self.next()
            held = [step]
            yield step


def _text(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode("ascii")
