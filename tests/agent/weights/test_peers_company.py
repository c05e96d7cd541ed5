"""The peers of one fetch: who is asked for what, and who is asked no more."""

import socket
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from peers_world import KEY, OTHER_KEY, Liar, heard_ask, publish_build, raw, scripted, serving
from weights_origin import toy

from poolhand.agent.weights.peers_company import Company, Peer
from poolhand.agent.weights.peers_talk import PIECE_BYTES, Answer, State, Talk, rank
from poolhand.config.peers import Peers

OBJECTS = toy(shard_bytes=2_000_000)
DATA = OBJECTS["model-00001-of-00002.safetensors"]
SHA = raw(DATA)
OWN = b"w" * 16


@contextmanager
def company(ports: list[int], *, node: bytes | None = None, **chosen: float) -> Generator[Company]:
    """The company of a fetch that wants one file."""
    urls = tuple(f"127.0.0.1:{port}" for port in ports)
    peers = Peers(urls=urls, key_file="/k", gather_s=0.0).model_copy(update=chosen)
    found = Company(peers, KEY, node, {SHA})
    found.begin(20.0)
    try:
        yield found
    finally:
        found.end()


def brought(found: Company, peer: Peer, start: int = 0, stop: int = 1000) -> bytes:
    """What a peer brings of a range."""
    got = bytearray()
    buffer = memoryview(bytearray(PIECE_BYTES))
    found.bring(peer, SHA, (start, stop), buffer, lambda view, _: got.extend(view), least_bytes=10)
    return bytes(got)


def saying(state: State, *, node: bytes = b"n" * 16) -> object:
    """A peer that gives the same answer to whatever it is asked."""

    def play(line: socket.socket, talk: Talk) -> None:
        for _ in range(10**6):
            _ = heard_ask(line, talk)
            line.sendall(talk.answer(Answer(state, 5)))

    return scripted(play, node=node)


def ports_of(held: ExitStack, *states: tuple[State, bytes]) -> list[int]:
    """Peers that give these answers, by their names."""
    found: list[int] = []
    for state, node in states:
        port = held.enter_context(saying(state, node=node))  # pyright: ignore[reportArgumentType, reportUnknownVariableType]  # a context
        assert isinstance(port, int)
        found.append(port)
    return found


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    _ = publish_build(tmp_path, OBJECTS)
    return tmp_path


def test_nobody_is_asked_where_nobody_is() -> None:
    with company([]) as found:
        assert found.source(SHA, 0) is None
        assert found.holder(SHA, 0, 10) is None


def test_who_has_all_of_it_is_asked(cache_dir: Path) -> None:
    with serving(cache_dir) as server, company([server.port], node=OWN) as found:
        peer = found.source(SHA, 0)
        assert peer is not None
        assert brought(found, peer, 5, 1_500_000) == DATA[5:1_500_000]
        assert peer.brought_bytes == 1_499_995
        assert found.source(b"x" * 32, 0) is None, "of another file nobody said anything"


def test_who_fetches_it_too_reads_its_own_share() -> None:
    with ExitStack() as held:
        ports = ports_of(held, ("arriving", b"a" * 16), ("arriving", b"b" * 16))
        found = held.enter_context(company(ports, node=OWN))
        nodes = (b"a" * 16, b"b" * 16, OWN)
        shares: set[bytes] = set()
        for at in range(40):
            start = at * 8 * 2**20
            peer = found.source(SHA, start)
            first = rank(nodes, SHA, start)[0]
            assert (OWN if peer is None else peer.node) == first
            shares.add(first)
        assert shares == set(nodes)


def test_whoever_serves_nobody_reads_no_share() -> None:
    with ExitStack() as held:
        ports = ports_of(held, ("arriving", b"a" * 16))
        found = held.enter_context(company(ports, node=None))
        assert all(found.source(SHA, at * 8 * 2**20) is not None for at in range(40))


def test_who_fetches_nothing_has_a_share_only_while_all_gather() -> None:
    with ExitStack() as held:
        ports = ports_of(held, ("unknown", b"a" * 16))
        late = held.enter_context(company(ports, node=OWN, gather_s=0.0))
        assert all(late.source(SHA, at * 8 * 2**20) is None for at in range(40))
        early = held.enter_context(company(ports, node=OWN, gather_s=60.0))
        asked = [early.source(SHA, at * 8 * 2**20) for at in range(40)]
        assert any(peer is not None for peer in asked)
        assert any(peer is None for peer in asked)


def test_who_has_it_from_another_is_not_asked_for_it_again() -> None:
    with ExitStack() as held:
        ports = ports_of(held, ("elsewhere", b"a" * 16))
        found = held.enter_context(company(ports))
        peer = found.peers[0]
        peer.has[SHA] = "arriving"
        assert brought(found, peer) == b""
        peer.has[SHA] = "arriving"
        assert found.source(SHA, 0) is None
        peer.has[SHA] = "arriving"
        assert found.source(SHA, 8 * 2**20) is peer
        assert found.holder(SHA, 0, 10) is None


def test_who_reads_it_already_is_found() -> None:
    with ExitStack() as held:
        ports = ports_of(held, ("arriving", b"a" * 16))
        found = held.enter_context(company(ports, node=OWN))
        assert found.holder(SHA, 0, 10) is found.peers[0]


def test_who_keeps_us_waiting_is_passed_over() -> None:
    with ExitStack() as held:
        ports = ports_of(held, ("arriving", b"a" * 16))
        found = held.enter_context(company(ports, wait_s=0.3))
        peer = found.peers[0]
        give_up_s = time.monotonic() + 20
        while found.source(SHA, 0) is peer:
            assert time.monotonic() < give_up_s
            assert brought(found, peer) == b""
        assert peer.is_passed_over
        assert not peer.banned


@pytest.mark.parametrize(("state", "reason"), [("here", "slow"), ("arriving", None)])
def test_who_brings_too_little_to_be_of_use_is_not_asked_for_ever(
    state: State, reason: str | None
) -> None:
    """Whoever has all of it and gives crumbs never means it; who fetches it may get further."""

    def play(line: socket.socket, talk: Talk) -> None:
        while True:
            kind, start, _ = heard_ask(line, talk)
            if kind == "state":
                line.sendall(talk.answer(Answer(state, 5)))
                continue
            line.sendall(talk.answer(Answer("here", start + 9)))
            line.sendall(bytes(9) + talk.piece(start, raw(bytes(9))))

    with scripted(play) as port, company([port], wait_s=0.3) as found:
        peer = found.peers[0]
        give_up_s = time.monotonic() + 20
        while found.source(SHA, 0) is peer:
            assert time.monotonic() < give_up_s
            assert brought(found, peer) == bytes(9)
        assert found.banned.get(peer.address) == reason
        assert peer.is_passed_over == (reason is None)


def test_a_banned_peer_is_asked_for_nothing(cache_dir: Path) -> None:
    with serving(cache_dir) as server, company([server.port]) as found:
        peer = found.peers[0]
        found.ban(peer, "doubted")
        assert found.source(SHA, 0) is None
        assert found.banned == {peer.address: "doubted"}
        found.pardon(peer, "lied")
        assert found.source(SHA, 0) is None
        found.pardon(peer, "doubted")
        assert found.source(SHA, 0) is peer
        found.ban(peer, "lied")
        found.ban(peer, "doubted")
        found.pardon(peer, "doubted")
        assert found.banned == {peer.address: "lied"}, "the first reason stays"


def test_a_peer_of_another_pool_is_banned(cache_dir: Path) -> None:
    with serving(cache_dir, key=OTHER_KEY) as server, company([server.port]) as found:
        assert found.source(SHA, 0) is None
        assert set(found.banned.values()) == {"key"}


def test_a_liar_with_the_key_is_believed_until_the_whole_is_digested(cache_dir: Path) -> None:
    """That is what the digest of the whole file is for: see the tests of whole fetches."""
    with serving(cache_dir, kind=Liar) as server, company([server.port]) as found:
        got = brought(found, found.peers[0])
        assert len(got) == 1000
        assert got != DATA[:1000]


def test_a_peer_that_leaves_is_not_asked_until_it_is_back(cache_dir: Path) -> None:
    with serving(cache_dir) as server, company([server.port]) as found:
        peer = found.source(SHA, 0)
        assert peer is not None
        server.stop()
        give_up_s = time.monotonic() + 20
        while found.source(SHA, 0) is not None:
            assert time.monotonic() < give_up_s
            _ = brought(found, peer)
        assert found.banned == {}


def test_what_the_sink_raises_comes_through(cache_dir: Path) -> None:
    class DiskDied(Exception):
        pass

    def sink(_view: memoryview, _at: int) -> None:
        raise DiskDied

    with serving(cache_dir) as server, company([server.port]) as found:
        buffer = memoryview(bytearray(PIECE_BYTES))
        with pytest.raises(DiskDied):
            found.bring(found.peers[0], SHA, (0, 10), buffer, sink, least_bytes=10)
        assert brought(found, found.peers[0]) == DATA[:1000]


def test_the_end_ends_what_waits() -> None:
    def play(line: socket.socket, talk: Talk) -> None:
        while heard_ask(line, talk)[0] == "state":
            line.sendall(talk.answer(Answer("here", 5)))
        _ = heard_ask(line, talk)

    with scripted(play) as port, company([port], wait_s=60.0) as found:
        peer = found.source(SHA, 0)
        assert peer is not None
        threading.Timer(0.2, found.end).start()
        began_s = time.monotonic()
        assert brought(found, peer) == b""
        assert time.monotonic() - began_s < 20


def test_one_address_twice_is_one_peer() -> None:
    with company([1, 1]) as found:
        assert len(found.peers) == 1
