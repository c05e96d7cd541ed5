"""One connection to one peer: greet, ask, hold what comes to its MACs.

Nothing is handed on before the MAC of its piece was right. A piece that takes too long ends
the connection, however busily its bytes drip.
"""

import contextlib
import hashlib
import secrets
import socket
import time
from collections.abc import Callable
from typing import Literal

from .peers_talk import (
    ANSWER_BYTES,
    HELLO,
    ID_BYTES,
    MAC_BYTES,
    NUMBER_BYTES,
    Answer,
    Ask,
    Talk,
    Untrue,
    client_proof,
    is_same,
    pieces,
    server_proof,
)

Reason = Literal["gone", "slow", "untrue", "key"]
Sink = Callable[[memoryview, int], None]
"""Takes bytes that were held to their MAC, and the file offset they belong to."""

CONNECT_S = 1.0


class PeerFailed(Exception):  # not a failure of the fetch: there is always the store
    """A peer did not do what it should.

    Attributes:
        reason: ``gone``; ``slow``; ``untrue``: it does not show the key, or says what makes no
            sense; ``key``: it does not take ours.
    """

    def __init__(self, *, reason: Reason) -> None:
        self.reason: Reason = reason
        super().__init__(reason)


class PeerLine:
    """An open connection; used by one thread, but for :meth:`interrupt`.

    Args:
        address: Host and port.
        key: The pool's.
        wait_s: Seconds without a byte, and for a whole piece, before the peer is too slow.

    Attributes:
        node: What the peer calls itself.

    Raises:
        PeerFailed: Nobody answers there, or nobody that holds the key.
    """

    def __init__(self, address: tuple[str, int], key: bytes, *, wait_s: float) -> None:
        self._wait_s = wait_s
        try:
            self._socket = socket.create_connection(address, timeout=min(CONNECT_S, wait_s))
        except OSError as error:
            raise PeerFailed(reason="gone") from error
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.node, self._talk = self._greet(key)
            self._socket.settimeout(wait_s)
        except OSError as error:
            self.close()
            raise PeerFailed(reason="gone") from error
        except PeerFailed:
            self.close()
            raise

    def state(self, sha256: bytes, start: int = 0, stop: int = 0) -> Answer:
        """How it stands with a file at the peer, or with some of its bytes.

        Args:
            sha256: Of the whole file, raw.
            start: First byte.
            stop: One behind the last byte; 0: the file is meant.

        Raises:
            PeerFailed: As it says.
        """
        return self._asked(Ask("state", sha256, start, stop))

    def read(self, sha256: bytes, start: int, stop: int, buffer: memoryview, sink: Sink) -> Answer:
        """Read bytes of a file as far as the peer has them.

        Args:
            sha256: Of the whole file, raw.
            start: First byte.
            stop: One behind the last byte.
            buffer: ``PIECE_BYTES`` long; reused for every piece.
            sink: Gets piece after piece; how far it got is how far they went.

        Raises:
            PeerFailed: As it says; what the sink got is good.
        """
        answer = self._asked(Ask("bytes", sha256, start, stop))
        if answer.state != "here":
            return answer
        if not start < answer.stop <= stop:
            raise PeerFailed(reason="untrue")
        for first, last in pieces(start, answer.stop):
            piece = buffer[: last - first]
            until_s = time.monotonic() + self._wait_s
            self._fill(piece, until_s)
            digest = hashlib.sha256(piece).digest()
            if not is_same(self._talk.piece(first, digest), self._exactly(MAC_BYTES, until_s)):
                raise PeerFailed(reason="untrue")
            sink(piece, first)
        return answer

    def interrupt(self) -> None:
        """End what runs in another thread; it raises :class:`PeerFailed`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up; safe to call twice."""
        self._socket.close()

    def _greet(self, key: bytes) -> tuple[bytes, Talk]:
        until_s = time.monotonic() + self._wait_s
        said = self._exactly(len(HELLO) + NUMBER_BYTES, until_s)
        if not said.startswith(HELLO):
            raise PeerFailed(reason="untrue")
        theirs, ours = said[len(HELLO) :], secrets.token_bytes(NUMBER_BYTES)
        self._socket.sendall(ours + client_proof(key, theirs, ours))
        try:
            said = self._exactly(ID_BYTES + MAC_BYTES, until_s)
        except PeerFailed as failed:
            raise PeerFailed(reason="key" if failed.reason == "gone" else failed.reason) from failed
        node, proof = said[:ID_BYTES], said[ID_BYTES:]
        if not is_same(server_proof(key, theirs, ours, node), proof):
            raise PeerFailed(reason="untrue")
        return node, Talk(key, theirs, ours)

    def _asked(self, ask: Ask) -> Answer:
        try:
            self._socket.sendall(self._talk.ask(ask))
            frame = self._exactly(ANSWER_BYTES, time.monotonic() + self._wait_s)
            return self._talk.read_answer(frame)
        except Untrue as error:
            raise PeerFailed(reason="untrue") from error
        except OSError as error:
            raise PeerFailed(reason="gone") from error

    def _exactly(self, count: int, until_s: float) -> bytes:
        found = bytearray(count)
        self._fill(memoryview(found), until_s)
        return bytes(found)

    def _fill(self, view: memoryview, until_s: float) -> None:
        got = 0
        while got < len(view):
            try:
                count = self._socket.recv_into(view[got:])
            except TimeoutError as error:
                raise PeerFailed(reason="slow") from error
            except OSError as error:
                raise PeerFailed(reason="gone") from error
            if count == 0:
                raise PeerFailed(reason="gone")
            got += count
            if got < len(view) and time.monotonic() > until_s:
                raise PeerFailed(reason="slow")
