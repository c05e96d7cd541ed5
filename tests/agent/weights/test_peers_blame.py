"""Whose bytes were wrong: what the store says afterwards tells, and nobody else is blamed."""

import hashlib
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from peers_world import KEY, Liar, publish_build, serving
from weights_origin import Origin, OriginStore, toy

from poolhand.agent.weights.cache import SHARED_NAME
from poolhand.agent.weights.journal import Header, Journal, Listed, load, nothing
from poolhand.agent.weights.parts import Part, Target, prepare
from poolhand.agent.weights.peers_company import Company
from poolhand.agent.weights.peers_pull import PullTogether, Together
from poolhand.agent.weights.peers_shared import Shared, Sharing
from poolhand.agent.weights.plan import Grid
from poolhand.agent.weights.source import Source
from poolhand.backends.stores.base import RemoteFile
from poolhand.backends.stores.errors import WeightsCorrupt
from poolhand.config.peers import Peers

NAME = "model-00001-of-00002.safetensors"
OBJECTS = toy(shard_bytes=24 * 2**20)
DATA = OBJECTS[NAME]
GRID = Grid(2**20, 4 * 2**20)
SHA = hashlib.sha256(DATA)


class Run:
    """One pull of one file, and what it needs."""

    def __init__(self, folder: Path, origin: Origin, company: Company, promised: str) -> None:
        folder.mkdir(parents=True)
        origin.etags = False  # their digests would take most of the time
        remote = RemoteFile(NAME, len(DATA), None, NAME)
        listed = Listed(path=NAME, size_bytes=remote.size_bytes, etag=remote.etag)
        header = Header(ref="s3://b", boot_id="x", block_bytes=GRID.block_bytes, files=(listed,))
        claims = nothing(header)
        self.part: Part = prepare(folder, [Target(remote, promised)], claims, GRID)[0]
        self.journal_path = folder / "j"
        journal = Journal(self.journal_path, claims)
        self.sharing = Sharing(folder / SHARED_NAME, [(promised, len(DATA), NAME)])
        self.shared = Shared(folder / SHARED_NAME)
        self.over = threading.Event()
        store = OriginStore(origin.port)
        source = Source(
            model="org/toy",
            store=store.name,
            locate=store.location,
            refresh=lambda: None,
            chance=lambda: 0.5,
            stall_timeout_s=10.0,
        )
        together = Together(company, self.sharing)
        self.pull = PullTogether(source, [self.part], journal, GRID, together, ended=self.over.set)
        self.pull.start(4)
        assert self.over.wait(50)
        self.pull.stop()
        journal.close()


@contextmanager
def company_of(*ports: int) -> Generator[Company]:
    peers = Peers(urls=tuple(f"127.0.0.1:{port}" for port in ports), key_file="/k", gather_s=0.0)
    found = Company(peers, KEY, None, {SHA.digest()})
    found.begin(20.0)
    try:
        yield found
    finally:
        found.end()


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peer")
    _ = publish_build(folder, OBJECTS)
    return folder


def test_the_liar_is_named_and_the_true_one_is_not(tmp_path: Path, cache_dir: Path) -> None:
    with (
        Origin({NAME: DATA}) as origin,
        serving(cache_dir, kind=Liar, node=b"l" * 16) as liar,
        serving(cache_dir, node=b"t" * 16) as true,
        company_of(liar.port, true.port) as company,
    ):
        run = Run(tmp_path / "m", origin, company, SHA.hexdigest())
        assert run.pull.error is None
        assert run.part.final.read_bytes() == DATA
        give_up_s = time.monotonic() + 20  # it is told a moment after the file has its name
        while "doubted" in company.banned.values():
            assert time.monotonic() < give_up_s
            time.sleep(0.01)
        assert company.banned == {f"127.0.0.1:{liar.port}": "lied"}
        assert all(peer.brought_bytes > 0 for peer in company.peers), "both had a share"
        while origin.sent_bytes < len(DATA):  # counted a moment after it was sent
            assert time.monotonic() < give_up_s
            time.sleep(0.01)
        assert origin.sent_bytes == len(DATA), "all that peers brought was read again, once"
        assert run.pull.bytes_done == len(DATA)
        assert run.pull.standing().peers_bytes == 0, "what was read again is the store's"
        claims = load(run.journal_path, boot_id="x")
        assert claims is not None
        assert claims.files[0].seal is not None
        run.sharing.close()


def test_true_ones_are_believed(tmp_path: Path, cache_dir: Path) -> None:
    with (
        Origin({NAME: DATA}) as origin,
        serving(cache_dir) as true,
        company_of(true.port) as company,
    ):
        run = Run(tmp_path / "m", origin, company, SHA.hexdigest())
        assert run.pull.error is None
        assert company.banned == {}
        assert origin.sent_bytes == 0
        assert run.pull.standing().peers_bytes == len(DATA)
        run.sharing.close()


def test_a_promise_that_nothing_keeps_is_an_error(tmp_path: Path, cache_dir: Path) -> None:
    """The store's own bytes are wrong, too: that is no peer's fault."""
    wrong = bytes([DATA[0] ^ 8]) + DATA[1:]
    with (
        Origin({NAME: wrong}) as origin,
        serving(cache_dir, kind=Liar) as liar,
        company_of(liar.port) as company,
    ):
        run = Run(tmp_path / "m", origin, company, SHA.hexdigest())
        assert isinstance(run.pull.error, WeightsCorrupt)
        assert origin.sent_bytes == 2 * len(DATA), "the store itself was given its second chance"
        assert not run.part.final.exists()
        run.sharing.close()
