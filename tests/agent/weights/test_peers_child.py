"""The process that answers peers, and what the agent says to it."""

import json
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from peers_world import KEY, OTHER_KEY, dialled, key_file, publish_build, raw
from weights_origin import toy

from poolhand.agent.weights.fetch import child_environ
from poolhand.agent.weights.lines import decode
from poolhand.agent.weights.peers_lines import CHILD, encode_kept_back, encode_place
from poolhand.agent.weights.peers_talk import PIECE_BYTES
from poolhand.config.errors import SecretUnusable
from poolhand.config.paths import StateUnusable
from poolhand.config.peers import Peers

OBJECTS = toy(shard_bytes=60_000)
DATA = OBJECTS["model-00001-of-00002.safetensors"]
SHA = raw(DATA)


class Child:
    """The process, and what it said."""

    def __init__(self, peers: Peers, cache_dir: Path) -> None:
        self.process = subprocess.Popen(  # noqa: S603  # our own
            CHILD,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environ(os.environ),
        )
        self.say(encode_place(peers, str(cache_dir)))

    def say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        _ = self.process.stdin.write(line)
        self.process.stdin.flush()

    def heard(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def ended(self) -> int:
        """Close its input and wait; its exit code."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        code = self.process.wait(30)
        self.process.stdout.close()
        return code


@contextmanager
def child(peers: Peers, cache_dir: Path) -> Generator[Child]:
    found = Child(peers, cache_dir)
    try:
        yield found
    finally:
        _ = found.ended()


def listening(folder: Path, key: bytes = KEY) -> Peers:
    """A table whose port is any that is free."""
    peers = Peers(listen="127.0.0.1:1", key_file=key_file(folder, key))
    return peers.model_copy(update={"listen": "127.0.0.1:0"})


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    _ = publish_build(tmp_path, OBJECTS)
    return tmp_path


def test_it_serves_tells_keeps_back_and_leaves(cache_dir: Path) -> None:
    peers = listening(cache_dir).model_dump()
    first = json.dumps({"peers": {**peers, "listen": "127.0.0.1:0"}, "cache_dir": str(cache_dir)})
    assert KEY.decode() not in first
    free = _free_port()
    with child(Peers(listen=free, key_file=str(peers["key_file"])), cache_dir) as served:
        port = json.loads(served.heard())["port"]
        assert free.endswith(f":{port}")
        with dialled(port) as line:
            got = bytearray()
            buffer = memoryview(bytearray(PIECE_BYTES))
            _ = line.read(SHA, 0, len(DATA), buffer, lambda view, _: got.extend(view))
            assert got == DATA
            told: dict[str, int] = {}
            while told.get("sent_bytes") != len(DATA):
                told = json.loads(served.heard())["served"]
            served.say(encode_kept_back(["org/toy"]))
            while line.state(SHA).state != "unknown":
                pass
            served.say(b"noise\n" + encode_kept_back([]))
            while line.state(SHA).state != "here":
                pass
        assert served.ended() == 0


def _free_port() -> str:
    import socket  # noqa: PLC0415  # here alone

    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


def test_a_key_that_cannot_be_used_is_said(cache_dir: Path) -> None:
    peers = Peers(listen=_free_port(), key_file=key_file(cache_dir, b"short"))
    with child(peers, cache_dir) as served:
        assert isinstance(decode(served.heard()), SecretUnusable)
        assert served.ended() == 1


def test_an_address_that_is_taken_is_said(cache_dir: Path, tmp_path: Path) -> None:
    import socket  # noqa: PLC0415  # here alone

    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        peers = Peers(listen=listen, key_file=key_file(tmp_path, OTHER_KEY))
        with child(peers, cache_dir) as served:
            word = decode(served.heard())
            assert isinstance(word, StateUnusable)
            assert listen in str(word)
            assert served.ended() == 1
