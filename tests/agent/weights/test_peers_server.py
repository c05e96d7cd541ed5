"""A node that answers peers: to whom, what, how fast, and how many at once."""

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from peers_world import KEY, NODE, OTHER_KEY, dialled, exactly, publish_build, raw, serving
from weights_origin import toy

from poolhand.agent.weights.cache import SHARED_NAME, Cache
from poolhand.agent.weights.peers_holdings import Holdings
from poolhand.agent.weights.peers_line import PeerFailed
from poolhand.agent.weights.peers_server import PeerServer, Served
from poolhand.agent.weights.peers_shared import Sharing
from poolhand.agent.weights.peers_talk import (
    ANSWER_BYTES,
    HELLO,
    MAC_BYTES,
    NUMBER_BYTES,
    PIECE_BYTES,
    Ask,
    Talk,
    client_proof,
)
from poolhand.config.peers import Peers

OBJECTS = toy(shard_bytes=3_000_000)
SHARD = "model-00001-of-00002.safetensors"
DATA = OBJECTS[SHARD]
SHA = raw(DATA)


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    _ = publish_build(tmp_path, OBJECTS)
    return tmp_path


@pytest.fixture
def server(cache_dir: Path) -> Iterator[PeerServer]:
    with serving(cache_dir) as found:
        yield found


def until(is_so: object, *, limit_s: float = 20.0) -> None:
    """Wait for something that another thread is about to do."""
    assert callable(is_so)
    give_up_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < give_up_s
        time.sleep(0.01)


def read(port: int, start: int, stop: int, *, sha256: bytes = SHA) -> tuple[str, bytes]:
    """What a peer with the key gets."""
    got = bytearray()
    with dialled(port) as line:
        buffer = memoryview(bytearray(PIECE_BYTES))
        answer = line.read(sha256, start, stop, buffer, lambda view, _: got.extend(view))
    return answer.state, bytes(got)


def greeted(port: int, key: bytes = KEY) -> tuple[socket.socket, Talk, bytes]:
    """A bare connection that has shown the key, its talk, and what it said to show it."""
    line = socket.create_connection(("127.0.0.1", port), timeout=20)
    said = exactly(line, len(HELLO) + NUMBER_BYTES)
    theirs, ours = said[len(HELLO) :], os.urandom(NUMBER_BYTES)
    shown = ours + client_proof(key, theirs, ours)
    line.sendall(shown)
    return line, Talk(key, theirs, ours), shown


def test_it_gives_what_is_asked_for(server: PeerServer) -> None:
    assert read(server.port, 0, len(DATA)) == ("here", DATA)
    assert read(server.port, 12_345, 2_100_000) == ("here", DATA[12_345:2_100_000])
    config = OBJECTS["config.json"]
    assert read(server.port, 0, len(config), sha256=raw(config)) == ("here", config)


def test_it_says_who_it_is(server: PeerServer) -> None:
    with dialled(server.port) as line:
        assert line.node == NODE


def test_one_connection_serves_for_many_asks(server: PeerServer) -> None:
    with dialled(server.port) as line:
        buffer = memoryview(bytearray(PIECE_BYTES))
        for start in range(0, 50_000, 10_000):
            got = bytearray()
            _ = line.read(SHA, start, start + 10, buffer, lambda view, _, got=got: got.extend(view))
            assert got == DATA[start : start + 10]
            assert line.state(SHA).state == "here"


def test_a_digest_that_is_not_here_is_unknown(server: PeerServer) -> None:
    assert read(server.port, 0, 10, sha256=b"x" * 32) == ("unknown", b"")
    with dialled(server.port) as line:
        assert line.state(b"x" * 32).state == "unknown"


def test_bytes_behind_the_end_are_unknown(server: PeerServer) -> None:
    assert read(server.port, 0, len(DATA) + 1) == ("unknown", b"")
    assert read(server.port, 2**63, 2**63 + 1) == ("unknown", b"")


def test_whoever_has_another_key_gets_nothing(server: PeerServer) -> None:
    with pytest.raises(PeerFailed) as failed, dialled(server.port, key=OTHER_KEY):
        pass
    assert failed.value.reason == "key"
    line, _, _ = greeted(server.port, OTHER_KEY)
    with line:
        assert exactly(line, 1) == b"", "hung up on, without a word that the key was used for"


def test_what_was_recorded_is_refused(server: PeerServer) -> None:
    recorded, talk, shown = greeted(server.port)
    ask = talk.ask(Ask("bytes", SHA, 0, 100))
    recorded.sendall(ask)
    assert len(exactly(recorded, 16 + MAC_BYTES + ANSWER_BYTES + 100)) > 100
    recorded.close()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as again:
        _ = exactly(again, len(HELLO) + NUMBER_BYTES)
        again.sendall(shown + ask)
        assert exactly(again, 1) == b"", "the server's number is another one"


def test_an_ask_said_twice_is_refused(server: PeerServer) -> None:
    line, talk, _ = greeted(server.port)
    with line:
        _ = exactly(line, 16 + MAC_BYTES)
        ask = talk.ask(Ask("bytes", SHA, 0, 100))
        line.sendall(ask + ask)
        told = exactly(line, ANSWER_BYTES + 100 + MAC_BYTES + 1)
        assert len(told) == ANSWER_BYTES + 100 + MAC_BYTES, "the first one is answered"


@pytest.mark.parametrize(
    "said",
    [
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n" + b"A" * 200,
        b"\x00" * 64,
        b"../" * 40,
        b"\xff" * 5_000,
    ],
)
def test_what_is_no_greeting_is_hung_up_on(server: PeerServer, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        _ = exactly(line, len(HELLO) + NUMBER_BYTES)
        line.sendall(said)
        assert exactly(line, 1) == b""
    assert read(server.port, 0, 10) == ("here", DATA[:10]), "and all others are still served"


def test_noise_after_the_greeting_is_hung_up_on(server: PeerServer) -> None:
    line, _, _ = greeted(server.port)
    with line:
        _ = exactly(line, 16 + MAC_BYTES)
        line.sendall(os.urandom(500))
        assert exactly(line, 1) == b""


def test_one_connection_too_many_is_turned_away(cache_dir: Path) -> None:
    with serving(cache_dir, max_connections=1) as server, dialled(server.port) as held:
        assert held.state(SHA).state == "here"
        with pytest.raises(PeerFailed) as failed, dialled(server.port):
            pass
        assert failed.value.reason == "gone"
        held.close()

        def is_let_in() -> bool:
            try:
                return read(server.port, 0, 5) == ("here", DATA[:5])
            except PeerFailed:
                return False

        until(is_let_in)


def test_a_system_without_threads_turns_away(
    server: PeerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError(thread.name)

    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", start)
        with pytest.raises(PeerFailed) as failed, dialled(server.port):
            pass
        assert failed.value.reason == "gone"
    assert read(server.port, 0, 10) == ("here", DATA[:10])
    assert server.counts.turned_away == 1


class Barred(socket.socket):
    """A listening socket that opens no file any more; whoever waits stops at the 40th try."""

    def __init__(self, tried: Callable[[], None]) -> None:
        super().__init__()
        self._tried = tried

    def accept(self) -> NoReturn:
        """Fail as the system does that has no file left."""
        self._tried()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_system_without_files_is_asked_again_after_a_rest(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the agent hears of it no more often than it would otherwise."""
    tries, rests, looks = list[int](), list[float | None](), list[Served]()

    def tried() -> None:
        tries.append(1)
        if len(tries) == 40:
            server.stop()

    def wait(_event: threading.Event, timeout: float | None = None) -> bool:
        rests.append(timeout)
        return False

    def create(*_: object, **_named: object) -> Barred:
        return Barred(tried)

    peers = Peers(listen="127.0.0.1:1", key_file="/k")
    monkeypatch.setattr(socket, "create_server", create)
    monkeypatch.setattr(threading.Event, "wait", wait)
    server = PeerServer(peers, KEY, NODE, Holdings(cache_dir / "models"))
    server.serve(looks.append, look_s=600)
    assert len(rests) == len(tries)
    assert all(rests)
    assert len(looks) == 1


def test_it_sends_no_faster_than_it_may(cache_dir: Path) -> None:
    with serving(cache_dir, max_bytes_per_s=2_000_000) as server:
        began_s = time.monotonic()
        assert read(server.port, 0, len(DATA))[0] == "here"
        assert time.monotonic() - began_s > 0.8, "3 MB at 2 MB a second, but for a small start"


def test_it_counts(server: PeerServer) -> None:
    _ = read(server.port, 0, 1000)
    line, _, _ = greeted(server.port, OTHER_KEY)
    with line:
        _ = exactly(line, 1)
    until(lambda: server.counts.refused == 1 and server.counts.connections == 0)
    told = server.counts.told()
    assert (told["sent_bytes"], told["asks"], told["turned_away"]) == (1000, 1, 0)


def test_a_changed_file_is_not_given(server: PeerServer, cache_dir: Path) -> None:
    path = Cache(cache_dir).folder("org/toy") / SHARD
    data = bytearray(DATA)
    data[5] ^= 1
    _ = path.write_bytes(data)
    assert read(server.port, 0, 10) == ("unknown", b"")


def test_a_link_in_the_place_of_a_file_is_not_followed(
    server: PeerServer, cache_dir: Path, tmp_path: Path
) -> None:
    path = Cache(cache_dir).folder("org/toy") / SHARD
    out = tmp_path / "out"
    _ = path.rename(out)
    path.symlink_to(out)
    assert read(server.port, 0, 10) == ("unknown", b"")


def test_what_is_on_its_way_is_waited_for(tmp_path: Path) -> None:
    folder = Cache(tmp_path).folder("org/toy")
    (folder / ".partial").mkdir(parents=True)
    _ = (folder / ".partial" / "m").write_bytes(DATA)
    sharing = Sharing(folder / SHARED_NAME, [(SHA.hex(), len(DATA), "m")])
    with serving(tmp_path) as server:
        assert read(server.port, 0, 1000) == ("arriving", b"")
        threading.Timer(0.1, sharing.arrived, args=(0, 0, 600)).start()
        assert read(server.port, 0, 1000) == ("here", DATA[:600]), "as far as it goes"
        with dialled(server.port) as line:
            assert line.state(SHA).state == "arriving"
            assert line.state(SHA, 0, 10).state == "here"
            assert line.state(SHA, 700, 800).state == "unknown"
            sharing.claimed(0, 700, 800)
            until(lambda: line.state(SHA, 700, 800).state == "arriving")
    sharing.close()


def test_what_came_from_a_peer_is_to_be_had_elsewhere(tmp_path: Path) -> None:
    folder = Cache(tmp_path).folder("org/toy")
    (folder / ".partial").mkdir(parents=True)
    _ = (folder / ".partial" / "m").write_bytes(DATA)
    sharing = Sharing(folder / SHARED_NAME, [(SHA.hex(), len(DATA), "m")])
    sharing.kept(0, 0, 1000)
    with serving(tmp_path) as server:
        began_s = time.monotonic()
        assert read(server.port, 0, 1000) == ("elsewhere", b"")
        assert time.monotonic() - began_s < 10
        with dialled(server.port) as line:
            assert line.state(SHA, 0, 10).state == "elsewhere"
    sharing.close()
