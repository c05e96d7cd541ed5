"""What two nodes say to each other: only what was said here and now, by the key, is believed."""

from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from poolhand.agent.weights.peers_talk import (
    ANSWER_BYTES,
    ASK_BYTES,
    MAC_BYTES,
    PIECE_BYTES,
    Answer,
    Ask,
    State,
    Talk,
    Untrue,
    client_proof,
    is_same,
    pieces,
    rank,
    server_proof,
)

KEY, OTHER = b"k" * 32, b"o" * 32
ONE, TWO = b"1" * 32, b"2" * 32
SHA = b"s" * 32
COUNTS = st.integers(0, 2**64 - 1)


def talks(key: bytes = KEY, *, server: bytes = ONE, client: bytes = TWO) -> tuple[Talk, Talk]:
    """Both ends of one connection."""
    return Talk(key, server, client), Talk(key, server, client)


@given(sha256=st.binary(min_size=32, max_size=32), start=COUNTS, more=st.integers(1, 2**40))
@settings(max_examples=50)
def test_an_ask_arrives_as_it_was_said(sha256: bytes, start: int, more: int) -> None:
    ours, theirs = talks()
    ask = Ask("bytes", sha256, start, min(start + more, 2**64 - 1))
    if ask.start < ask.stop:
        frame = ours.ask(ask)
        assert len(frame) == ASK_BYTES
        assert theirs.read_ask(frame) == ask


@pytest.mark.parametrize("state", ["here", "arriving", "elsewhere", "unknown"])
def test_an_answer_arrives_as_it_was_said(state: State) -> None:
    ours, theirs = talks()
    _ = theirs.read_ask(ours.ask(Ask("state", SHA)))
    frame = theirs.answer(Answer(state, 77))
    assert len(frame) == ANSWER_BYTES
    assert ours.read_answer(frame) == Answer(state, 77)


@given(at=st.integers(0, ASK_BYTES - 1), bit=st.integers(0, 7))
@settings(max_examples=100)
def test_no_bit_of_an_ask_can_be_changed(at: int, bit: int) -> None:
    ours, theirs = talks()
    frame = bytearray(ours.ask(Ask("bytes", SHA, 0, 100)))
    frame[at] ^= 1 << bit
    with pytest.raises(Untrue):
        theirs.read_ask(bytes(frame))


@given(at=st.integers(0, ANSWER_BYTES - 1), bit=st.integers(0, 7))
@settings(max_examples=50)
def test_no_bit_of_an_answer_can_be_changed(at: int, bit: int) -> None:
    ours, theirs = talks()
    _ = theirs.read_ask(ours.ask(Ask("state", SHA)))
    frame = bytearray(theirs.answer(Answer("here", 5)))
    frame[at] ^= 1 << bit
    with pytest.raises(Untrue):
        ours.read_answer(bytes(frame))


def test_an_ask_said_again_is_not_believed() -> None:
    ours, theirs = talks()
    frame = ours.ask(Ask("bytes", SHA, 0, 100))
    assert theirs.read_ask(frame)
    with pytest.raises(Untrue):
        theirs.read_ask(frame)


def test_an_old_answer_is_not_believed_for_another_ask() -> None:
    ours, theirs = talks()
    _ = theirs.read_ask(ours.ask(Ask("state", SHA)))
    old = theirs.answer(Answer("here", 5))
    assert ours.read_answer(old)
    _ = ours.ask(Ask("state", SHA))
    with pytest.raises(Untrue):
        ours.read_answer(old)


@pytest.mark.parametrize(
    ("key", "server", "client"), [(OTHER, ONE, TWO), (KEY, TWO, TWO), (KEY, ONE, ONE)]
)
def test_what_was_said_in_another_talk_is_not_believed(
    key: bytes, server: bytes, client: bytes
) -> None:
    ours, _ = talks(key, server=server, client=client)
    _, theirs = talks()
    with pytest.raises(Untrue):
        theirs.read_ask(ours.ask(Ask("bytes", SHA, 0, 100)))


def test_an_ask_for_nothing_is_not_answered() -> None:
    ours, theirs = talks()
    with pytest.raises(Untrue):
        theirs.read_ask(ours.ask(Ask("bytes", SHA, 100, 100)))


def test_an_ask_is_no_answer() -> None:
    ours, theirs = talks()
    frame = ours.ask(Ask("bytes", SHA, 0, 1))
    with pytest.raises(Untrue):
        ours.read_answer(frame[:ANSWER_BYTES])
    assert theirs.read_ask(frame)


def test_a_piece_stands_for_its_bytes_its_place_and_its_ask() -> None:
    ours, theirs = talks()
    _ = theirs.read_ask(ours.ask(Ask("bytes", SHA, 0, 100)))
    mac = theirs.piece(0, SHA)
    assert len(mac) == MAC_BYTES
    assert ours.piece(0, SHA) == mac
    assert ours.piece(1, SHA) != mac
    assert ours.piece(0, b"t" * 32) != mac
    _ = ours.ask(Ask("bytes", SHA, 0, 100))
    assert ours.piece(0, SHA) != mac


def test_a_proof_of_one_side_is_none_of_the_other() -> None:
    node = b"n" * 16
    client, server = client_proof(KEY, ONE, TWO), server_proof(KEY, ONE, TWO, node)
    assert not is_same(client, server)
    assert not is_same(client, client_proof(OTHER, ONE, TWO))
    assert not is_same(client, client_proof(KEY, TWO, ONE))
    assert not is_same(server, server_proof(KEY, ONE, TWO, b"m" * 16))
    assert is_same(server, server_proof(KEY, ONE, TWO, node))


@given(start=st.integers(0, 2**30), count=st.integers(1, 40 * 2**20))
@settings(max_examples=50)
def test_pieces_cover_a_range_once(start: int, count: int) -> None:
    found = list(pieces(start, start + count))
    assert found[0][0] == start
    assert found[-1][1] == start + count
    assert all(0 < stop - first <= PIECE_BYTES for first, stop in found)
    assert all(one[1] == two[0] for one, two in pairwise(found))


NODES = st.sets(st.binary(min_size=16, max_size=16), min_size=1, max_size=9)


@given(nodes=NODES, start=st.integers(0, 2**40), chance=st.randoms())
@settings(max_examples=50)
def test_all_nodes_find_the_same_order(nodes: set[bytes], start: int, chance: object) -> None:
    shuffled = sorted(nodes, key=lambda node: hash((node, str(chance))))
    assert rank(tuple(sorted(nodes)), SHA, start) == rank(tuple(shuffled), SHA, start)


@given(nodes=NODES, start=st.integers(0, 2**40))
@settings(max_examples=50)
def test_who_leaves_changes_nothing_among_the_others(nodes: set[bytes], start: int) -> None:
    order = rank(tuple(nodes), SHA, start)
    for gone in nodes:
        left = tuple(node for node in nodes if node != gone)
        assert rank(left, SHA, start) == tuple(node for node in order if node != gone)


def test_ranges_are_spread_over_the_nodes() -> None:
    nodes = tuple(bytes([at]) * 16 for at in range(8))
    firsts = [rank(nodes, SHA, at * 8 * 2**20)[0] for at in range(800)]
    shares = [firsts.count(node) for node in nodes]
    assert min(shares) > 60
    assert max(shares) < 140


def test_those_who_cut_a_file_in_other_ways_agree_all_the_same() -> None:
    nodes = tuple(bytes([at]) * 16 for at in range(8))
    grid = 8 * 2**20
    assert rank(nodes, SHA, 3 * grid) == rank(nodes, SHA, 3 * grid + 12_345)
