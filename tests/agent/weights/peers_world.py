"""Nodes that answer peers on loopback, true ones and others, for the tests of peers."""

import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from weights_origin import REF, digested, lay

from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.lines import FetchJob
from poolhand.agent.weights.peers_holdings import Holdings
from poolhand.agent.weights.peers_line import PeerLine
from poolhand.agent.weights.peers_server import PeerServer
from poolhand.agent.weights.peers_talk import (
    ASK_BYTES,
    HELLO,
    NUMBER_BYTES,
    Ask,
    Talk,
    server_proof,
)
from poolhand.agent.weights.publish import publish
from poolhand.config.peers import Peers
from poolhand.config.settings import Stores, Weights

KEY = b"k" * 32
OTHER_KEY = b"o" * 32
NODE = b"n" * 16
MODEL = "org/toy"


def raw(data: bytes) -> bytes:
    """The sha256 of some bytes."""
    return hashlib.sha256(data).digest()


def key_file(folder: Path, key: bytes = KEY) -> str:
    """A file that holds the key."""
    path = folder / "peers.key"
    _ = path.write_bytes(key + b"\n")
    path.chmod(0o600)
    return str(path)


def publish_build(cache_dir: Path, objects: Mapping[str, bytes], *, model: str = MODEL) -> Path:
    """Have a verified build lie in a cache; its folder."""
    folder = Cache(cache_dir).folder(model)
    targets = lay(folder, dict(objects))
    job = FetchJob(model, REF, Stores(), Weights(), str(cache_dir))
    _ = publish(folder, folder, job, digested(folder, targets), is_promised=True)
    return folder


class Liar(PeerServer):
    """Serves like any other, but has one bit of every piece wrong, and vouches for it."""

    def _send(
        self, line: socket.socket, talk: Talk, fd: int, start: int, stop: int, buffer: memoryview
    ) -> None:
        data = bytearray(os.pread(fd, stop - start, start))
        for at in range(0, len(data), 2**20):
            data[at] ^= 1
        for at in range(0, len(data), 2**20):
            piece = bytes(data[at : at + 2**20])
            line.sendall(piece + talk.piece(start + at, raw(piece)))


@contextmanager
def serving(
    cache_dir: Path,
    *,
    key: bytes = KEY,
    node: bytes = NODE,
    kind: type[PeerServer] = PeerServer,
    **chosen: int,
) -> Generator[PeerServer]:
    """A node that answers peers from a cache, in a thread."""
    peers = Peers.model_validate({"listen": "127.0.0.1:1", "key_file": "/k", **chosen})
    peers = peers.model_copy(update={"listen": "127.0.0.1:0"})
    server = kind(peers, key, node, Holdings(cache_dir / "models"))
    thread = threading.Thread(target=server.serve, kwargs={"look_s": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(20)


@contextmanager
def dialled(port: int, *, key: bytes = KEY, wait_s: float = 10.0) -> Generator[PeerLine]:
    """A line to a node."""
    line = PeerLine(("127.0.0.1", port), key, wait_s=wait_s)
    try:
        yield line
    finally:
        line.close()


Play = Callable[[socket.socket, Talk], None]
"""What a scripted peer does once it has shown the key."""


@contextmanager
def scripted(play: Play, *, key: bytes = KEY, node: bytes = NODE) -> Generator[int]:
    """A peer that holds the key and does as it is told, on each of its connections; its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def live(line: socket.socket) -> None:
        with contextlib.suppress(OSError), line:
            number = os.urandom(NUMBER_BYTES)
            line.sendall(HELLO + number)
            said = exactly(line, NUMBER_BYTES + 32)
            theirs = said[:NUMBER_BYTES]
            line.sendall(node + server_proof(key, number, theirs, node))
            play(line, Talk(key, number, theirs))

    def serve() -> None:
        while not ended.is_set():
            try:
                line = listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=live, args=(line,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(20)


def exactly(line: socket.socket, count: int) -> bytes:
    """So many bytes, or fewer if the other end hangs up."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while len(found) < count and (piece := line.recv(count - len(found))):
            found += piece
    return found


def heard(line: socket.socket, talk: Talk) -> Ask:
    """The next ask; ends the thread when the peer has left."""
    frame = exactly(line, ASK_BYTES)
    if len(frame) < ASK_BYTES:
        raise ConnectionError
    return talk.read_ask(frame)


def heard_ask(line: socket.socket, talk: Talk) -> tuple[str, int, int]:
    """Its kind and span."""
    ask = heard(line, talk)
    return ask.kind, ask.start, ask.stop
