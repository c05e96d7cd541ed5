"""The checks of peers, against servers that answer them and sockets that do not."""

import socket
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolhand.agent.cli import checks_peers
from poolhand.agent.weights.cache import Cache
from poolhand.agent.weights.peers_holdings import Holdings
from poolhand.agent.weights.peers_node import serving
from poolhand.agent.weights.peers_server import PeerServer
from poolhand.config.peers import NO_PEERS

from .checks_world import PLAIN, RUNNING, by_id, ground, verdicts

KEY = "k" * 32
OTHER_KEY = "o" * 32


@contextmanager
def answering(folder: Path, key: str = KEY, node: bytes = bytes(16)) -> Generator[str]:
    """A node that answers peers; where."""
    peers = NO_PEERS.model_copy(update={"listen": "127.0.0.1:0", "key_file": "/k"})
    server = PeerServer(peers, key.encode(), node, Holdings(Cache(folder).models))
    thread = threading.Thread(target=server.serve, kwargs={"look_s": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        server.stop()
        thread.join(20)


def found(
    folder: Path, *urls: str, listen: str = "", status: Mapping[str, object] | None = None
) -> dict[str, str]:
    return verdicts(checks_peers.look(sharing(folder, *urls, listen=listen, status=status)))


def sharing(
    folder: Path,
    *urls: str,
    listen: str = "",
    status: Mapping[str, object] | None = None,
    key: str = KEY,
    mode: int = 0o600,
) -> checks_peers.Ground:
    """The ground of a node that shares weights."""
    folder.mkdir(exist_ok=True)
    (folder / "peers.key").write_text(key)
    (folder / "peers.key").chmod(mode)
    text = f'{PLAIN}[cache]\ndir = "cache"\n[peers]\nkey_file = "peers.key"\nurls = {list(urls)}\n'
    return ground(folder, text + (f'listen = "{listen}"\n' if listen else ""), status=status)


def test_who_shares_nothing_has_nothing_to_look_at(tmp_path: Path) -> None:
    told = verdicts(checks_peers.look(ground(tmp_path)))
    assert told == dict.fromkeys(checks_peers.ABOUT, "skipped")


@pytest.mark.parametrize(("key", "mode", "why"), [(KEY, 0o644, "chmod 600"), ("x", 0o600, "32")])
def test_a_key_that_cannot_be_used(tmp_path: Path, key: str, mode: int, why: str) -> None:
    here = sharing(tmp_path, "127.0.0.1:1", key=key, mode=mode)
    told = by_id(checks_peers.look(here))
    assert told["peers.key"].verdict == "warn"
    assert why in told["peers.key"].cause
    assert key not in told["peers.key"].cause.replace(str(tmp_path), "").split(), "it is secret"
    assert told["peers.reach"].verdict == "skipped"


def test_each_peer_is_told_apart(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with (
        serving(Cache(cache).models) as own,
        answering(cache, node=own) as mine,
        answering(tmp_path / "b", node=b"b" * 16) as good,
        answering(tmp_path / "c", OTHER_KEY) as stranger,
        socket.create_server(("127.0.0.1", 0)) as closed,
    ):
        gone = f"127.0.0.1:{closed.getsockname()[1]}"
        closed.close()
        here = sharing(tmp_path, mine, good, stranger, gone)
        found = {one.subject: one for one in checks_peers.look(here) if one.id == "peers.reach"}
    assert [one.verdict for one in found.values()] == ["ok", "ok", "warn", "warn"]
    assert found[mine].cause == "this node itself"
    assert "the same key" in found[good].cause
    assert "does not take this node's key" in found[stranger].cause
    assert "nobody answers" in found[gone].cause


def test_somebody_who_is_no_peer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            line, _ = listening.accept()
            with line:
                line.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" + b" " * 100)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        told = by_id(checks_peers.look(sharing(tmp_path, address)), address)
        thread.join(20)
    assert "no peer" in told["peers.reach"].cause


def test_the_port_is_judged_by_what_the_agent_says(tmp_path: Path) -> None:
    listen = "192.0.2.1:7717"

    def port(part: Mapping[str, object] | None) -> tuple[str, str]:
        status = {**RUNNING} if part is None else {**RUNNING, "peers": part}
        told = by_id(checks_peers.look(sharing(tmp_path, listen=listen, status=status)))
        return told["peers.port"].verdict.value, told["peers.port"].cause

    good: dict[str, object] = {"listen": listen, "port": 7717, "error": None, "connections": 3}
    assert port(good) == ("ok", f"{listen} answers; 3 connected")
    assert port(None)[0] == "warn", "it was set after the start"
    error = {"code": "state_unusable", "words": "the address is not ours"}
    assert port({**good, "port": None, "error": error}) == ("warn", f"{listen}: {error['words']}")
    assert port({**good, "port": None})[0] == "warn", "nothing was heard of it"
    assert port({**good, "refused": 2})[0] == "warn"
    assert found(tmp_path, listen=listen)["peers.port"] == "skipped", "no agent runs"
    assert found(tmp_path, "127.0.0.1:1", status=RUNNING)["peers.port"] == "skipped"
