"""Gives verified bytes to the pool's other nodes: a thread for each of their connections.

Whoever cannot show within a few seconds that it holds the key is hung up on, and has cost a
thread and 97 bytes. What is answered comes from :class:`~.peers_holdings.Holdings`: a peer
names a digest and never a place.
"""

import contextlib
import hashlib
import mmap
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from ...config.peers import Peers, host_and_port
from .pace import Bucket
from .peers_holdings import Held, Holdings, opened
from .peers_talk import (
    ASK_BYTES,
    HELLO,
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

GREETING_S = 5.0
"""A stranger is listened to for so long."""

IDLE_S = 120.0
HOLD_S = 0.5
"""Bytes that are on their way are waited for so long before the peer is told to ask again."""

PIECE_LIMIT_S = 30.0
_POLL_S = 0.02
_BUFFER_BYTES = 256 * 1024
_STACK_BYTES = 256 * 1024
_BACKLOG = 64


@dataclass(slots=True)
class Served:
    """What was counted since the start.

    Attributes:
        sent_bytes: Of weights.
        asks: Questions that were answered with bytes.
        connections: Open now, strangers included.
        refused: Strangers that did not show the key, and frames that were not true.
        turned_away: Connections that were one too many.
    """

    sent_bytes: int = 0
    asks: int = 0
    connections: int = 0
    refused: int = 0
    turned_away: int = 0

    def told(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


class PeerServer:
    """Listens and answers.

    Args:
        peers: Where, how many, how fast.
        key: The pool's.
        node: What this node is called among its peers, ``ID_BYTES`` long.
        holdings: What there is to give.

    Attributes:
        port: Where it listens.
        counts: What was counted.

    Raises:
        OSError: The address cannot be had.
    """

    def __init__(self, peers: Peers, key: bytes, node: bytes, holdings: Holdings) -> None:
        self._peers = peers
        self._key = key
        self._node = node
        self._holdings = holdings
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._bucket = Bucket(peers.max_bytes_per_s)
        self._bucket_lock = threading.Lock()
        self._lines: set[socket.socket] = set()
        self.counts = Served()
        host, port = host_and_port(peers.listen or "")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self.port = int(self._socket.getsockname()[1])

    def serve(
        self, look: Callable[[Served], None] = lambda _: None, *, look_s: float = 1.0
    ) -> None:
        """Answer until :meth:`stop`.

        Args:
            look: Called about every ``look_s`` with what was counted, however many come.
            look_s: Seconds.
        """
        self._socket.settimeout(look_s)
        previous, due_s = threading.stack_size(_STACK_BYTES), 0.0
        try:
            while not self._over.is_set():
                try:
                    self._welcome(self._socket.accept()[0])
                except TimeoutError:
                    pass  # nobody came
                except OSError:  # who came has left again, or no file can be opened any more
                    _ = self._over.wait(_POLL_S)
                if (now_s := time.monotonic()) >= due_s:
                    due_s = now_s + look_s
                    look(self.counts)
        finally:
            _ = threading.stack_size(previous)
            self._socket.close()

    def stop(self) -> None:
        """Hang up on everyone; from any thread."""
        self._over.set()
        with self._lock:
            lines = [*self._lines, self._socket]
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _welcome(self, line: socket.socket) -> None:
        with self._lock:
            is_full = len(self._lines) >= self._peers.max_connections
            if not is_full:
                self._lines.add(line)
                self.counts.connections = len(self._lines)
        try:
            if not is_full:
                threading.Thread(target=self._live, args=(line,), name="peer", daemon=True).start()
                return
        except RuntimeError:  # the system has no thread left
            self._left(line)
        with self._lock:
            self.counts.turned_away += 1
        line.close()

    def _left(self, line: socket.socket) -> None:
        with self._lock:
            self._lines.discard(line)
            self.counts.connections = len(self._lines)

    def _live(self, line: socket.socket) -> None:
        try:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            talk = self._greet(line)
            buffer = memoryview(mmap.mmap(-1, _BUFFER_BYTES))
            line.settimeout(IDLE_S)
            while not self._over.is_set():
                self._answer(line, talk, talk.read_ask(_exactly(line, ASK_BYTES)), buffer)
        except Untrue:
            with self._lock:
                self.counts.refused += 1
        except (OSError, EOFError):
            pass  # it left, or was too slow to hear us
        finally:
            self._left(line)
            line.close()

    def _greet(self, line: socket.socket) -> Talk:
        """Have the peer show its key first: a stranger learns nothing that the key was used for."""
        until_s = time.monotonic() + GREETING_S
        line.settimeout(GREETING_S)
        number = secrets.token_bytes(NUMBER_BYTES)
        line.sendall(HELLO + number)
        said = _exactly(line, NUMBER_BYTES + MAC_BYTES, until_s=until_s)
        theirs, proof = said[:NUMBER_BYTES], said[NUMBER_BYTES:]
        if not is_same(client_proof(self._key, number, theirs), proof):
            raise Untrue
        line.sendall(self._node + server_proof(self._key, number, theirs, self._node))
        return Talk(self._key, number, theirs)

    def _answer(self, line: socket.socket, talk: Talk, ask: Ask, buffer: memoryview) -> None:
        held = self._holdings.find(ask.sha256.hex())
        if ask.kind == "state":
            line.sendall(talk.answer(_state(held, ask)))
            return
        is_asked_right = held is not None and ask.stop <= held.size_bytes
        if is_asked_right and held is not None and held.reach(ask.start) <= ask.start:
            held = self._wait(ask)
        if held is None or not is_asked_right:
            line.sendall(talk.answer(Answer("unknown")))
            return
        stop = min(ask.stop, held.reach(ask.start))
        if stop <= ask.start:
            state = "elsewhere" if held.is_kept(ask.start) else "arriving"
            line.sendall(talk.answer(Answer(state, held.progress_bytes)))
            return
        with opened(held) as fd:
            if fd is None:
                line.sendall(talk.answer(Answer("unknown")))
                return
            line.settimeout(PIECE_LIMIT_S)
            line.sendall(talk.answer(Answer("here", stop)))
            self._send(line, talk, fd, ask.start, stop, buffer)
        line.settimeout(IDLE_S)

    def _wait(self, ask: Ask) -> Held | None:
        """What there is of the file, once it reaches to where it is asked for, or after a while."""
        until_s = time.monotonic() + HOLD_S
        while True:
            held = self._holdings.find(ask.sha256.hex())
            is_over = held is None or held.reach(ask.start) > ask.start or held.is_kept(ask.start)
            if is_over or time.monotonic() >= until_s or self._over.wait(_POLL_S):
                return held

    def _send(
        self, line: socket.socket, talk: Talk, fd: int, start: int, stop: int, buffer: memoryview
    ) -> None:
        for first, last in pieces(start, stop):
            sha256, at = hashlib.sha256(), first
            while at < last:
                count = os.preadv(fd, [buffer[: min(len(buffer), last - at)]], at)
                if count == 0:
                    raise EOFError  # cut short under us
                sha256.update(buffer[:count])
                line.sendall(buffer[:count])
                at += count
                self._rest(count)
            line.sendall(talk.piece(first, sha256.digest()))
            with self._lock:
                self.counts.sent_bytes += last - first
        with self._lock:
            self.counts.asks += 1

    def _rest(self, count: int) -> None:
        with self._bucket_lock:
            rest_s = self._bucket.debit(count, time.monotonic())
        while rest_s > 0 and not self._over.wait(rest_s):
            with self._bucket_lock:
                rest_s = self._bucket.debit(0, time.monotonic())


def _state(held: Held | None, ask: Ask) -> Answer:
    if held is None:
        return Answer("unknown")
    if held.is_whole:
        return Answer("here", held.size_bytes)
    if ask.stop and (reach := held.reach(ask.start)) > ask.start:
        return Answer("here", reach)
    if ask.stop and held.is_kept(ask.start):
        return Answer("elsewhere")
    is_coming = not ask.stop or (held.offered is not None and held.offered.is_coming(ask.start))
    return Answer("arriving", held.progress_bytes) if is_coming else Answer("unknown")


def _exactly(line: socket.socket, count: int, *, until_s: float | None = None) -> bytes:
    """So many bytes, and none more.

    Raises:
        EOFError: The peer left before.
        TimeoutError: It took too long.
    """
    found = b""
    while len(found) < count:
        piece = line.recv(count - len(found))
        if not piece:
            raise EOFError
        if until_s is not None and time.monotonic() > until_s:
            raise TimeoutError
        found += piece
    return found
