"""``models fetch`` with peers, as users run it: a process, a node that has it, an S3 of our own."""

import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolhand.agent.cli.exits import Exit
from poolhand.agent.dev.objectstore import ObjectStore
from poolhand.agent.weights.peers_lines import CHILD, encode_place
from poolhand.config.peers import Peers

from .conftest import Cli
from .toy_store import fetched, holding

OBJECTS = {
    "config.json": b'{"model_type": "toy"}',
    "tokenizer_config.json": b"{}",
    "data/words.txt": b"0123456789" * 300_000,
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    async with holding(tmp_path / "root", OBJECTS) as running:
        yield running


@contextmanager
def answering(cache_dir: Path, key: Path) -> Generator[str]:
    """A node that answers peers; where."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        listen = f"127.0.0.1:{found.getsockname()[1]}"
    process = subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603  # our own
    assert process.stdin is not None
    assert process.stdout is not None
    _ = process.stdin.write(encode_place(Peers(listen=listen, key_file=str(key)), str(cache_dir)))
    process.stdin.flush()
    assert b"port" in process.stdout.readline()
    try:
        yield listen
    finally:
        process.stdin.close()
        _ = process.wait(30)
        process.stdout.close()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "peers.key"
    _ = path.write_text("0123456789abcdef" * 4 + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def checksums(tmp_path: Path) -> Path:
    path = tmp_path / "SHA256SUMS"
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in OBJECTS.items()]
    _ = path.write_text("\n".join(lines) + "\n")
    return path


async def test_a_peer_is_asked_for_what_was_promised(
    cli: Cli, store: ObjectStore, tmp_path: Path, key: Path, checksums: Path
) -> None:
    """One copy in a cache, from the store; then another one, from there."""
    first = await fetched(cli, store, "--json", "--checksums", checksums, "--id", "org/toy")
    assert first.returncode == Exit.OK, first.stderr
    folder = Path(json.loads(first.stdout)["folder"])
    with answering(folder.parent.parent, key) as peer:
        to = tmp_path / "copy"
        said = ("--peer", peer, "--peers-key", key, "--checksums", checksums)
        done = await fetched(cli, store, "--to", to, *said)
    assert done.returncode == Exit.OK, done.stderr
    assert "from peers" in done.stderr
    assert {path.name for path in to.iterdir()} == {"config.json", "data", "tokenizer_config.json"}
    assert (to / "data" / "words.txt").read_bytes() == OBJECTS["data/words.txt"]


async def test_a_peer_without_a_key_is_refused(cli: Cli, store: ObjectStore) -> None:
    done = await fetched(cli, store, "--peer", "127.0.0.1:1")
    assert done.returncode != Exit.OK
    assert "--peers-key" in done.stderr


async def test_a_peer_that_is_no_address_is_refused(cli: Cli, store: ObjectStore) -> None:
    done = await fetched(cli, store, "--peer", "http://host/", "--peers-key", sys.executable)
    assert done.returncode == Exit.USAGE
    assert "HOST:PORT" in done.stderr
