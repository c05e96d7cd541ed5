"""A fetch with peers: what it takes from whom, and that no peer makes it wrong, or stops it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from peers_world import (
    MODEL,
    NODE,
    OTHER_KEY,
    Liar,
    Play,
    heard,
    heard_ask,
    key_file,
    publish_build,
    raw,
    scripted,
    serving,
)
from weights_origin import REF, Origin, manifest_of, origin_store, quick, stores_of, toy

from poolhand.agent.weights.bring import Bring
from poolhand.agent.weights.cache import SHARED_NAME, Cache
from poolhand.agent.weights.lines import FetchJob
from poolhand.agent.weights.peers_node import serving as named
from poolhand.agent.weights.peers_talk import PIECE_BYTES, Answer, Talk
from poolhand.agent.weights.verify import read_record
from poolhand.backends.stores.base import Progress
from poolhand.config.errors import SecretUnusable
from poolhand.config.peers import Peers

CHUNK_BYTES = 2**20
OBJECTS = toy(shard_bytes=5_000_000)
SHARD = "model-00001-of-00002.safetensors"
ALL_BYTES = sum(map(len, OBJECTS.values()))


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin({**OBJECTS, "manifest.json": manifest_of(OBJECTS, model=MODEL)}) as serving_it:
        yield serving_it


@dataclass
class Fetched:
    """What became of a fetch."""

    folder: Path
    told: list[Progress] = field(default_factory=list[Progress])

    @property
    def peers_bytes(self) -> int:
        return max((one.bytes_peers for one in self.told), default=0)


def fetch_with(
    origin: Origin, cache_dir: Path, ports: list[int], **chosen: float | str | None
) -> Fetched:
    """A fetch in this process; everything it ends with is right, or this raises."""
    cache_dir.mkdir(exist_ok=True)
    said: dict[str, object] = {"key_file": key_file(cache_dir), "gather_s": 0.0, "wait_s": 2.0}
    urls = tuple(f"127.0.0.1:{port}" for port in ports)
    peers = Peers.model_validate({**said, "urls": urls}).model_copy(update=chosen)
    weights = quick(chunk_bytes=CHUNK_BYTES, connections=3)
    job = FetchJob(MODEL, REF, stores_of(origin), weights, str(cache_dir), peers=peers)
    found = Fetched(Cache(cache_dir).folder(MODEL))
    bring = Bring(job, origin_store, lambda _phase, progress: found.told.append(progress))
    _ = bring.run()
    for name, data in OBJECTS.items():
        assert (found.folder / name).read_bytes() == data
    record = read_record(found.folder)
    assert record is not None
    assert record.verified_by == "manifest"
    assert not (found.folder / SHARED_NAME).exists()
    assert all(one.bytes_peers <= one.bytes_done for one in found.told)
    return found


def weights_read(origin: Origin) -> int:
    """How often the store was asked for weights."""
    return sum(path.endswith(".safetensors") for path, _ in origin.ranges)


def test_what_a_peer_has_is_not_read_from_the_store(origin: Origin, tmp_path: Path) -> None:
    _ = publish_build(tmp_path / "peer", OBJECTS)
    with serving(tmp_path / "peer") as peer:
        found = fetch_with(origin, tmp_path / "own", [peer.port])
    assert weights_read(origin) == 0
    assert found.peers_bytes == ALL_BYTES
    assert found.told[-1].bytes_done == ALL_BYTES


def test_what_a_peer_lacks_is_read_from_the_store(origin: Origin, tmp_path: Path) -> None:
    half = {name: data for name, data in OBJECTS.items() if name != SHARD}
    half["model.safetensors.index.json"] = b'{"weight_map": {}}'
    _ = publish_build(tmp_path / "peer", half)
    with serving(tmp_path / "peer") as peer:
        found = fetch_with(origin, tmp_path / "own", [peer.port])
    assert 4_000_000 < found.peers_bytes < 6_000_000
    asked = {path for path, _ in origin.ranges if path.endswith(".safetensors")}
    assert asked == {SHARD}


def test_nobody_there_costs_nothing_but_the_store(origin: Origin, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
    found = fetch_with(origin, tmp_path / "own", [port])
    assert found.peers_bytes == 0


def test_another_pool_is_not_asked(origin: Origin, tmp_path: Path) -> None:
    _ = publish_build(tmp_path / "peer", OBJECTS)
    with serving(tmp_path / "peer", key=OTHER_KEY) as peer:
        found = fetch_with(origin, tmp_path / "own", [peer.port])
        assert peer.counts.sent_bytes == 0
        assert peer.counts.refused > 0
    assert found.peers_bytes == 0


def test_without_a_promised_digest_no_peer_is_asked(tmp_path: Path) -> None:
    """Who is to say, then, that its bytes are right?"""
    _ = publish_build(tmp_path / "peer", OBJECTS)
    with Origin(OBJECTS) as bare, serving(tmp_path / "peer") as peer:
        own = tmp_path / "own"
        own.mkdir()
        peers = Peers(urls=(f"127.0.0.1:{peer.port}",), key_file=key_file(own))
        weights = quick(chunk_bytes=CHUNK_BYTES)
        job = FetchJob(MODEL, REF, stores_of(bare), weights, str(own), peers=peers)
        _ = Bring(job, origin_store, lambda _phase, _progress: None).run()
        assert peer.counts.connections == peer.counts.asks == 0
        assert weights_read(bare) > 0


def test_a_liar_costs_time_and_nothing_else(origin: Origin, tmp_path: Path) -> None:
    _ = publish_build(tmp_path / "peer", OBJECTS)
    with serving(tmp_path / "peer", kind=Liar) as peer:
        found = fetch_with(origin, tmp_path / "own", [peer.port])
    assert found.told[-1].bytes_peers == 0
    sizes = [int(b) - int(a) + 1 for a, b in _spans(origin)]
    assert sum(sizes) <= 10_100_000 + 2 * CHUNK_BYTES, "each byte of weights about once"


def _spans(origin: Origin) -> list[tuple[str, str]]:
    asked = [one for path, one in origin.ranges if path.endswith(".safetensors") and one]
    return [tuple(one.removeprefix("bytes=").split("-")) for one in asked]  # pyright: ignore[reportReturnType]  # two


def test_a_liar_beside_a_true_one_is_found_out(origin: Origin, tmp_path: Path) -> None:
    _ = publish_build(tmp_path / "peer", OBJECTS)
    with (
        serving(tmp_path / "peer", kind=Liar, node=b"l" * 16) as liar,
        serving(tmp_path / "peer", node=b"t" * 16) as true,
    ):
        _ = fetch_with(origin, tmp_path / "own", [liar.port, true.port])


def dies(line: socket.socket, talk: Talk) -> None:
    kind, _, stop = heard_ask(line, talk)
    if kind == "bytes":
        line.sendall(talk.answer(Answer("here", stop)) + b"\x00" * 1000)
        return
    line.sendall(talk.answer(Answer("here", 2**40)))
    dies(line, talk)


def garbles(line: socket.socket, talk: Talk) -> None:
    kind, start, stop = heard_ask(line, talk)
    if kind == "bytes":
        line.sendall(talk.answer(Answer("here", stop)))
        piece = b"\x00" * min(PIECE_BYTES, stop - start)
        line.sendall(piece + b"\x00" * 32)
        _ = heard_ask(line, talk)
    line.sendall(talk.answer(Answer("here", 2**40)))
    garbles(line, talk)


def drips(line: socket.socket, talk: Talk) -> None:
    kind, _, stop = heard_ask(line, talk)
    if kind == "bytes":
        line.sendall(talk.answer(Answer("here", stop)))
        pause = threading.Event()
        while not pause.wait(0.05):
            line.sendall(b"\x00")
    line.sendall(talk.answer(Answer("here", 2**40)))
    drips(line, talk)


def delays(line: socket.socket, talk: Talk) -> None:
    """It says for ever that it brings the bytes, and gets further, and never brings any."""
    for count in range(10**6):
        _ = heard_ask(line, talk)
        line.sendall(talk.answer(Answer("arriving", 0 if count % 2 else 1)))


def stalls(line: socket.socket, talk: Talk) -> None:
    for _ in range(10**6):
        _ = heard_ask(line, talk)
        line.sendall(talk.answer(Answer("arriving", 7)))


def crumbles(line: socket.socket, talk: Talk) -> None:
    """It has all of it, and gives a byte for each ask: true, and never a whole block."""
    whole = {raw(data): data for data in OBJECTS.values()}
    while True:
        ask = heard(line, talk)
        if ask.kind == "state":
            line.sendall(talk.answer(Answer("here", 2**40)))
            continue
        crumb = whole[ask.sha256][ask.start : ask.start + 1]
        line.sendall(talk.answer(Answer("here", ask.start + 1)))
        line.sendall(crumb + talk.piece(ask.start, raw(crumb)))


def sends_on(line: socket.socket, talk: Talk) -> None:
    """It says that it has all of it, and that each range is to be had elsewhere."""
    while True:
        state = "here" if heard(line, talk).kind == "state" else "elsewhere"
        line.sendall(talk.answer(Answer(state, 2**40)))


PLAYS: dict[str, Play] = {
    "dies": dies,
    "garbles": garbles,
    "drips": drips,
    "stalls": stalls,
    "crumbles": crumbles,
    "sends on": sends_on,
}


@pytest.mark.parametrize("how", PLAYS)
def test_a_peer_that_does_not_deliver_is_left_alone(
    origin: Origin, tmp_path: Path, how: str
) -> None:
    with scripted(PLAYS[how]) as port:
        found = fetch_with(origin, tmp_path / "own", [port], wait_s=1.0)
    assert found.peers_bytes == 0


def test_a_peer_that_only_says_that_it_brings_is_not_waited_for_for_ever(
    origin: Origin, tmp_path: Path
) -> None:
    with scripted(delays) as port:
        found = fetch_with(origin, tmp_path / "own", [port], wait_s=0.3)
    assert found.peers_bytes == 0


def test_a_key_that_cannot_be_used_is_said(origin: Origin, tmp_path: Path) -> None:
    short = tmp_path / "short.key"
    _ = short.write_text("too short\n")
    short.chmod(0o600)
    with pytest.raises(SecretUnusable):
        _ = fetch_with(origin, tmp_path / "own", [1], key_file=str(short))


def test_nodes_that_begin_together_read_the_store_once(origin: Origin, tmp_path: Path) -> None:
    caches = [tmp_path / f"node{at}" for at in range(3)]
    with ExitStack() as held:
        ports: list[int] = []
        for cache_dir in caches:
            node = held.enter_context(named(cache_dir / "models"))
            ports.append(held.enter_context(serving(cache_dir, node=node)).port)

        def work(cache_dir: Path) -> Fetched:
            return fetch_with(origin, cache_dir, ports, listen="127.0.0.1:1", gather_s=20.0)

        found = _side_by_side(work, caches)
    spans = sum(int(b) - int(a) + 1 for a, b in _spans(origin))
    assert spans <= 1.1 * ALL_BYTES
    assert sum(one.peers_bytes for one in found) >= 1.9 * ALL_BYTES


def _side_by_side(work: Callable[[Path], Fetched], caches: list[Path]) -> list[Fetched]:
    found: list[Fetched] = []

    def run(cache_dir: Path) -> None:
        found.append(work(cache_dir))

    threads = [threading.Thread(target=run, args=(one,), daemon=True) for one in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert len(found) == len(caches)
    return found


def test_a_node_knows_itself_among_the_peers(origin: Origin, tmp_path: Path) -> None:
    own = tmp_path / "own"
    with named(own / "models") as node, serving(own, node=node) as server:
        found = fetch_with(origin, own, [server.port], listen="127.0.0.1:1", gather_s=30.0)
        assert server.counts.asks == 0
    assert found.peers_bytes == 0
    assert node != NODE


def test_what_lies_here_from_an_earlier_fetch_is_gone_on_from(
    origin: Origin, tmp_path: Path
) -> None:
    """Half of a file is here, one byte of it wrong, and nobody knows from whom."""
    own = tmp_path / "own"
    found = fetch_with(origin, own, [])
    before = weights_read(origin)
    (found.folder / "manifest.ok").unlink()
    data = bytearray(OBJECTS[SHARD])
    data[77] ^= 1
    _ = (found.folder / SHARD).write_bytes(data)
    _ = publish_build(tmp_path / "peer", OBJECTS)
    with serving(tmp_path / "peer") as peer:
        again = fetch_with(origin, own, [peer.port])
    assert weights_read(origin) == before
    assert again.peers_bytes >= len(OBJECTS[SHARD])


def test_the_digest_of_a_piece_is_that_of_its_bytes() -> None:
    assert raw(b"abc").hex().startswith("ba7816bf")
