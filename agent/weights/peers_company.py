"""Which peers there are during one fetch, what each has, and which of them reads what first.

Nodes that begin together share the work without a word about it: each range belongs to one of
them, found by all in the same way (:func:`~.peers_talk.rank`), which reads it from the store;
the others ask that one. Who does not answer, does not fetch the same build, or brings nothing
for too long has its ranges taken over by the next in rank; behind all stands the store itself.
"""

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ...config.peers import Peers, host_and_port
from .peers_line import PeerFailed, PeerLine, Sink
from .peers_talk import Answer, State, rank

LINES_EACH = 4
"""Connections for bytes that a fetch has to one peer at most."""

_LINES_TO_ASK = 16
"""Where only a question is asked, and not to ask it may cost a range twice."""

_RETRY_S = 1.0
_MOST_RANKS = 2**16
_LOOK_S = 0.25
_LOOK_S_PER_FILE = 0.005
_BREATH_S = 0.05
_LONGEST_WAITS = 12
"""So many ``peers.wait_s`` a peer is waited for that says it gets further and brings nothing."""


@dataclass(slots=True)
class Peer:
    """One peer, as this fetch sees it.

    Attributes:
        node: What it calls itself; ``None`` until it answered.
        is_up: Whether it answers.
        banned: Why nothing is asked of it any more; empty: it is asked.
        is_passed_over: It kept us waiting too long for what only it was to read.
        has: By raw digest, what it said it has of the files.
        waiting_since_s: When it was first asked in vain since it last brought something.
        sign_s: When it last said that it has got further.
        progress: How far it said that it is.
        without: Digests and first bytes of ranges that it has from others, and does not pass on.
        lines: Open ones that nobody uses.
        lent: How many are in use.
        brought_bytes: What it brought.
    """

    address: str
    node: bytes | None = None
    is_up: bool = False
    banned: str = ""
    is_passed_over: bool = False
    has: dict[bytes, State] = field(default_factory=dict[bytes, State])
    waiting_since_s: float | None = None
    sign_s: float = 0.0
    progress: int = 0
    without: set[tuple[bytes, int]] = field(default_factory=set[tuple[bytes, int]])
    lines: list[PeerLine] = field(default_factory=list[PeerLine])
    lent: int = 0
    brought_bytes: int = 0

    @property
    def is_of_use(self) -> bool:
        """Whether it may be asked."""
        return self.is_up and not self.banned


class Company:
    """The peers of one fetch; safe for many threads.

    Args:
        peers: Who they are, and how long they are waited for.
        key: The pool's.
        node: What this node's own server calls itself; ``None``: it serves nobody.
        files: Raw digests of the files that peers may bring.
    """

    def __init__(
        self, peers: Peers, key: bytes, node: bytes | None, files: Collection[bytes]
    ) -> None:
        self._settings = peers
        self._key = key
        self._node = node
        self._files = set(files)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._begun_s = time.monotonic()
        self._ranks: dict[tuple[tuple[bytes, ...], bytes, int], bytes] = {}
        self._out: set[PeerLine] = set()
        self.peers = [Peer(address) for address in dict.fromkeys(peers.urls)]

    def begin(self, patience_s: float = 2.0) -> None:
        """Meet the peers; returns when each has answered or failed, or after ``patience_s``."""
        met: list[threading.Event] = []
        for peer in self.peers:
            event = threading.Event()
            met.append(event)
            args = (peer, event)
            threading.Thread(target=self._mind, args=args, name="peer-look", daemon=True).start()
        until_s = time.monotonic() + patience_s
        for event in met:
            _ = event.wait(max(0.0, until_s - time.monotonic()))
        self._begun_s = time.monotonic()

    def end(self) -> None:
        """Hang up on everyone and have all threads leave."""
        self._over.set()
        with self._lock:
            idle, busy = [line for peer in self.peers for line in peer.lines], [*self._out]
            for peer in self.peers:
                peer.lines.clear()
        for line in idle:
            line.close()
        for line in busy:  # whoever uses it closes it
            line.interrupt()

    def source(self, sha256: bytes, start: int) -> Peer | None:
        """Whom to ask for a range now; ``None``: the store."""
        with self._lock:
            useful = [peer for peer in self.peers if peer.is_of_use]
            whole = [peer for peer in useful if peer.has.get(sha256) == "here"]
            if whole:
                return self._first(whole, sha256, start)
            is_gathering = time.monotonic() - self._begun_s < self._settings.gather_s
            reading = {"arriving", "unknown"} if is_gathering else {"arriving"}
            able = [
                peer
                for peer in useful
                if peer.has.get(sha256) in reading
                and not peer.is_passed_over
                and (sha256, start) not in peer.without
            ]
            return self._first(able, sha256, start, self._node)

    def holder(self, sha256: bytes, start: int, stop: int) -> Peer | None:
        """Who has a range already, or reads it just now, though it is ours to read.

        Nodes that did not begin together have read, or begun to, what they thought was theirs.

        Args:
            sha256: Of the whole file, raw.
            start: First byte.
            stop: One behind the last byte.
        """
        with self._lock:
            able = [
                peer
                for peer in self.peers
                if peer.is_of_use and not peer.is_passed_over and peer.has.get(sha256) == "arriving"
            ]
        for peer in able:
            try:
                line = self._borrow(peer, most=_LINES_TO_ASK)
                if line is None:
                    continue
                is_good = False
                try:
                    answer = line.state(sha256, start, stop)
                    is_good = True
                finally:
                    self._give_back(peer, line, is_good=is_good)
            except PeerFailed as failed:
                self._failed(peer, failed.reason)
                continue
            if answer.state in {"here", "arriving"}:
                return peer
        return None

    def bring(
        self,
        peer: Peer,
        sha256: bytes,
        span: tuple[int, int],
        buffer: memoryview,
        sink: Sink,
        *,
        least_bytes: int,
    ) -> None:
        """Have a peer bring a range, as much of it as it has; failures are noted, not raised.

        Args:
            peer: Whom :meth:`source` named.
            sha256: Of the whole file, raw.
            span: First byte, and one behind the last.
            buffer: ``PIECE_BYTES`` long.
            sink: Gets what came.
            least_bytes: Fewer are of no use, unless they are all.
        """
        least = min(span[0] + least_bytes, span[1])
        line: PeerLine | None = None
        answer: Answer | None = None
        is_good = False

        def take(view: memoryview, at: int) -> None:
            sink(view, at)
            with self._lock:
                peer.brought_bytes += len(view)
                if at + len(view) >= least:
                    peer.waiting_since_s = None

        try:
            line = self._borrow(peer)
            if line is not None:
                answer = line.read(sha256, span[0], span[1], buffer, take)
            is_good = True
        except PeerFailed as failed:
            self._failed(peer, failed.reason)
            return
        finally:
            if line is not None:
                self._give_back(peer, line, is_good=is_good)
        if answer is None or answer.state in {"arriving", "unknown"}:
            self._waited(peer, sha256, answer)
        elif answer.state == "elsewhere":
            self._sent_on(peer, sha256, span[0], answer)
        elif answer.stop < least:
            self._starved(peer, sha256)

    def ban(self, peer: Peer, reason: str) -> None:
        """Ask nothing of it any more during this fetch."""
        with self._lock:
            peer.banned = peer.banned or reason

    def pardon(self, peer: Peer, reason: str) -> None:
        """Ask it again, if it was for this reason that it was not asked."""
        with self._lock:
            if peer.banned == reason:
                peer.banned = ""

    @property
    def banned(self) -> dict[str, str]:
        """Peers of which nothing is asked any more, and why."""
        return {peer.address: peer.banned for peer in self.peers if peer.banned}

    def _first(
        self, peers: Sequence[Peer], sha256: bytes, start: int, own: bytes | None = None
    ) -> Peer | None:
        by_node = {peer.node: peer for peer in peers if peer.node is not None}
        names: set[bytes] = {*by_node} if own is None else {*by_node, own}
        nodes = tuple(sorted(names))
        if not nodes:
            return None
        key = (nodes, sha256, start)
        if key not in self._ranks:
            if len(self._ranks) >= _MOST_RANKS:
                self._ranks.clear()
            self._ranks[key] = rank(nodes, sha256, start)[0]
        return by_node.get(self._ranks[key])

    # ── one line ──────────────────────────────────────────────────────────────────────

    def _borrow(self, peer: Peer, *, most: int = LINES_EACH) -> PeerLine | None:
        """A line for this thread alone; ``None``: too many are in use."""
        with self._lock:
            if peer.lent >= most or self._over.is_set():
                return None
            peer.lent += 1
            line = peer.lines.pop() if peer.lines else None
            if line is not None:
                self._out.add(line)
                return line
        try:
            line = self._dial(peer)
        except PeerFailed:
            with self._lock:
                peer.lent -= 1
            raise
        with self._lock:
            self._out.add(line)
        return line

    def _dial(self, peer: Peer) -> PeerLine:
        address = host_and_port(peer.address)
        return PeerLine(address, self._key, wait_s=self._settings.wait_s)

    def _give_back(self, peer: Peer, line: PeerLine, *, is_good: bool) -> None:
        with self._lock:
            peer.lent -= 1
            self._out.discard(line)
            is_kept = is_good and not self._over.is_set()
            if is_kept:
                peer.lines.append(line)
        if not is_kept:
            line.close()

    # ── what is known of a peer ───────────────────────────────────────────────────────

    def _heard(self, peer: Peer, sha256: bytes, answer: Answer) -> None:
        """Note what a peer says; called with the lock held."""
        peer.has[sha256] = answer.state
        if answer.state == "arriving" and answer.stop != peer.progress:
            peer.progress, peer.sign_s = answer.stop, time.monotonic()

    def _waited(self, peer: Peer, sha256: bytes, answer: Answer | None) -> None:
        """A peer was asked in vain; ``None``: all lines were in use, or it gave too little."""
        with self._lock:
            now_s, wait_s = time.monotonic(), self._settings.wait_s
            if answer is not None:
                self._heard(peer, sha256, answer)
            since_s = peer.waiting_since_s
            if since_s is None:
                since_s = peer.waiting_since_s = now_s
            # signs of life lengthen the patience, but words alone do not do so for ever
            is_silent = now_s - max(since_s, peer.sign_s) > wait_s
            if is_silent or now_s - since_s > wait_s * _LONGEST_WAITS:
                peer.is_passed_over = True
        if answer is None or answer.state == "unknown":
            _ = self._over.wait(_BREATH_S)  # else the peer itself has kept us for a while

    def _sent_on(self, peer: Peer, sha256: bytes, start: int, answer: Answer) -> None:
        with self._lock:
            peer.without.add((sha256, start))
            if peer.has.get(sha256) == "here":  # not any more, or it never was
                self._heard(peer, sha256, answer)

    def _starved(self, peer: Peer, sha256: bytes) -> None:
        """It gave too little to be of use, and would give the same again."""
        if peer.has.get(sha256) == "here":  # who has all of it can give more
            self.ban(peer, "slow")
        else:
            self._waited(peer, sha256, None)

    def _failed(self, peer: Peer, reason: str) -> None:
        with self._lock:
            if self._over.is_set():
                return
            if reason == "gone":
                peer.is_up = False
            else:
                peer.banned = peer.banned or reason

    def _mind(self, peer: Peer, met: threading.Event) -> None:
        """Look again and again whether a peer is there, and what it has."""
        while not self._over.is_set():
            try:
                line = self._dial(peer)
                with self._lock:
                    self._out.add(line)
            except PeerFailed as failed:
                met.set()
                if failed.reason in {"untrue", "key"}:
                    self.ban(peer, failed.reason)
                    return
                _ = self._over.wait(_RETRY_S)
                continue
            try:
                if line.node == self._node:
                    return
                self._ask_on(peer, line, met)
            except PeerFailed:
                with self._lock:
                    peer.is_up = False
                    peer.has.clear()
                _ = self._over.wait(_RETRY_S)
            finally:
                met.set()
                with self._lock:
                    self._out.discard(line)
                line.close()

    def _ask_on(self, peer: Peer, line: PeerLine, met: threading.Event) -> None:
        while not self._over.is_set():
            for sha256 in sorted(self._files):
                if peer.has.get(sha256) != "here":
                    answer = line.state(sha256)
                    with self._lock:
                        self._heard(peer, sha256, answer)
            with self._lock:
                peer.node, peer.is_up = line.node, True
            met.set()
            pause_s = max(_LOOK_S, _LOOK_S_PER_FILE * len(self._files))
            _ = self._over.wait(pause_s)
