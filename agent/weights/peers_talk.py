r"""What two nodes say to each other when one reads a build's bytes from the other (pure).

Both prove that they hold the pool's key, and neither says it: the server speaks first, with a
number that was never used before; the client answers with its own and a MAC over both; the
server answers with a MAC the other way round. From the two numbers follows a key for this
connection, and every frame that is said afterwards bears a MAC with its place in the talk. So
what was recorded once is of no use, in whatever order it is said again, and no clock is
compared.

::

    server: b"poolhand peers 1\n"  number[32]
    client: number[32]  mac[32]
    server: node id[16]  mac[32]
    client: ask = kind[1] sha256[32] start[8] stop[8]  mac[32]       as often as it likes
    server: answer = state[1] stop[8]  mac[32]                       one for each ask
            and, if it is HERE: pieces, each its bytes, then mac[32] over their sha256

A file is asked for by the sha256 of its whole, and by nothing else: there are no names and no
paths in this talk, and nothing can be listed. Every frame has a fixed length, and the bytes of
an answer are at most those that were asked for. Nothing is encrypted.
"""

import hashlib
import hmac
import struct
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal, cast

from ...config.frozen import frozen

HELLO = b"poolhand peers 1\n"
NUMBER_BYTES = 32
MAC_BYTES = 32
ID_BYTES = 16
PIECE_BYTES = 2**20
"""Most that stands under one MAC, and most that a lie can cost before it is noticed."""

_RANK_BYTES = 8 * 2**20

SHORTEST_KEY = 32
"""Letters of a key; whoever saw one greeting could otherwise try keys at home."""

_ASK = struct.Struct(">c32sQQ")
_ANSWER = struct.Struct(">cQ")
ASK_BYTES = _ASK.size + MAC_BYTES
ANSWER_BYTES = _ANSWER.size + MAC_BYTES

Kind = Literal["bytes", "state"]
State = Literal["here", "arriving", "elsewhere", "unknown"]
_KINDS: Mapping[bytes, Kind] = MappingProxyType({b"B": "bytes", b"S": "state"})
_STATES: Mapping[bytes, State] = MappingProxyType(
    {b"H": "here", b"A": "arriving", b"E": "elsewhere", b"U": "unknown"}
)
_OF_KIND = MappingProxyType({kind: byte for byte, kind in _KINDS.items()})
_OF_STATE = MappingProxyType({state: byte for byte, state in _STATES.items()})


class Untrue(Exception):  # not a failure of ours
    """What was said does not prove what it has to, or means nothing."""


@frozen
class Ask:
    """A question about one file.

    Attributes:
        kind: ``bytes``: give them; ``state``: only tell how it stands with them, or, if ``stop``
            is 0, with the file.
        sha256: Of the whole file, raw.
        start: First byte; for ``bytes``, less than ``stop``.
        stop: One behind the last byte.
    """

    kind: Kind
    sha256: bytes
    start: int = 0
    stop: int = 0


@frozen
class Answer:
    """What follows it.

    Attributes:
        state: ``here``: the bytes follow, or could; ``arriving``: they are on their way;
            ``elsewhere``: they came from another peer, so they are not passed on yet;
            ``unknown``: there is no such file, or nobody brings these bytes of it.
        stop: ``here``: one behind the last byte that does; ``arriving``: how many bytes the
            store has brought so far, which only tells whether it goes on bringing any.
    """

    state: State
    stop: int = 0


def client_proof(key: bytes, server: bytes, client: bytes) -> bytes:
    """What the client says to show that it holds the key."""
    return _mac(key, b"client", server, client)


def server_proof(key: bytes, server: bytes, client: bytes, node: bytes) -> bytes:
    """What the server says to show that it holds the key, and which node it is."""
    return _mac(key, b"server", server, client, node)


def is_same(one: bytes, other: bytes) -> bool:
    """Whether two MACs are the same, in a time that does not tell how nearly."""
    return hmac.compare_digest(one, other)


class Talk:
    """The frames of one connection from the greeting on, counted; the same on both sides.

    Args:
        key: The pool's.
        server: The server's number.
        client: The client's number.
    """

    def __init__(self, key: bytes, server: bytes, client: bytes) -> None:
        self._key = _mac(key, b"talk", server, client)
        self._asks = 0

    def ask(self, ask: Ask) -> bytes:
        """An ask as bytes."""
        body = _ASK.pack(_OF_KIND[ask.kind], ask.sha256, ask.start, ask.stop)
        self._asks += 1
        return body + self._seal(b"ask", body)

    def read_ask(self, frame: bytes) -> Ask:
        """Read an ask.

        Args:
            frame: ``ASK_BYTES`` of them.

        Raises:
            Untrue: It bears no MAC for this place, or asks for nothing.
        """
        self._asks += 1
        body = self._opened(b"ask", frame)
        said, sha256, start, stop = cast("tuple[bytes, bytes, int, int]", _ASK.unpack(body))
        kind = _KINDS.get(said)
        if kind is None or (kind == "bytes" and start >= stop):
            raise Untrue
        return Ask(kind, sha256, start, stop)

    def answer(self, answer: Answer) -> bytes:
        """The answer to the last ask, as bytes."""
        body = _ANSWER.pack(_OF_STATE[answer.state], answer.stop)
        return body + self._seal(b"answer", body)

    def read_answer(self, frame: bytes) -> Answer:
        """Read the answer to the last ask.

        Args:
            frame: ``ANSWER_BYTES`` of them.

        Raises:
            Untrue: It bears no MAC for this place, or means nothing.
        """
        body = self._opened(b"answer", frame)
        said, stop = cast("tuple[bytes, int]", _ANSWER.unpack(body))
        state = _STATES.get(said)
        if state is None:
            raise Untrue
        return Answer(state, stop)

    def piece(self, start: int, sha256: bytes) -> bytes:
        """What stands behind a piece.

        Args:
            start: Where it begins in the file.
            sha256: Of its bytes, raw.
        """
        return self._seal(b"piece", struct.pack(">Q", start) + sha256)

    def _seal(self, word: bytes, body: bytes) -> bytes:
        return _mac(self._key, word, struct.pack(">Q", self._asks), body)

    def _opened(self, word: bytes, frame: bytes) -> bytes:
        body, mac = frame[:-MAC_BYTES], frame[-MAC_BYTES:]
        if not is_same(self._seal(word, body), mac):
            raise Untrue
        return body


def pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The pieces of an answer: first byte, and one behind the last."""
    for at in range(start, stop, PIECE_BYTES):
        yield at, min(at + PIECE_BYTES, stop)


def rank(nodes: tuple[bytes, ...], sha256: bytes, start: int) -> tuple[bytes, ...]:
    """Which node is to read a range first, who comes after it, and so on.

    Every node that knows the same nodes finds the same order, and a node that leaves changes
    nothing among the others (rendezvous hashing).

    Args:
        nodes: Node ids.
        sha256: Of the whole file, raw.
        start: The first byte of the range.
    """
    # by a coarse grid, so that nodes agree who cut the file in other ways, or go on from a kill
    place = sha256 + struct.pack(">Q", start // _RANK_BYTES)
    return tuple(sorted(nodes, key=lambda node: hashlib.sha256(node + place).digest()))


def _mac(key: bytes, word: bytes, *parts: bytes) -> bytes:
    # every part but the last has one length wherever a word is used: no two mean the same bytes
    return hmac.new(key, word + b"\n" + b"".join(parts), hashlib.sha256).digest()
