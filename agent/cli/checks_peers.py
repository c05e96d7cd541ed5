"""Checks of the peers on a LAN; what is wrong with them costs time alone: there is the store."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ...config.errors import ConfigError
from ...config.peers import Peers, host_and_port
from .checks_disk import cache_of
from .checks_told import Finding, Ground, ok, skipped, warn
from .render import plain, table

ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "peers.key": "the key that peers share can be read, by nobody else, and is long enough",
        "peers.port": "the running agent answers its peers",
        "peers.reach": "each peer answers and shows the same key",
    }
)
_STEP_S = 4.0
_AT_ONCE = 16

_FAILED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "gone": (
            "nobody answers there; its share is read from the store",
            "Is that node up, with peers.listen? Does a firewall let this one through?",
        ),
        "slow": (
            "it did not greet in time; its share is read from the store",
            "Look at that node's load, and at the network between the two.",
        ),
        "key": (
            "it does not take this node's key",
            "Put the same key into peers.key_file on both.",
        ),
        "untrue": (
            "whoever answers there is no peer, or has another key",
            "Put the same key into peers.key_file on both; check the address.",
        ),
    }
)
"""What a peer did not do, and what helps."""


def look(ground: Ground) -> Iterator[Finding]:
    """Read the key, ask the agent of its port, and greet every peer; nothing is read from them."""
    peers = ground.settings.peers
    if not peers.is_on:
        for check in ABOUT:
            yield skipped(check, "no weights are shared: peers.listen and peers.urls are not set")
        return
    from ..weights.peers_node import key_of  # noqa: PLC0415  # few share weights

    try:
        key = key_of(peers.key_file)
    except ConfigError as error:
        remedy = "Make one with `openssl rand -hex 32`, mode 0600, the same on every node."
        yield warn("peers.key", str(error), remedy)
        yield _port(ground, peers)
        yield skipped("peers.reach", "without the key nobody answers")
        return
    yield ok("peers.key", f"{peers.key_file} can be read, and by nobody else")
    yield _port(ground, peers)
    yield from _reached(ground, peers, key)


def _port(ground: Ground, peers: Peers) -> Finding:
    if peers.listen is None:
        return skipped("peers.port", "peers.listen is not set: this node only takes")
    if not ground.runs:
        return skipped("peers.port", "no agent runs")
    part = table(ground.status.get("peers"))
    error = table(part.get("error"))
    if not part:
        remedy = "Say `poolhand service restart`: the port is opened at the start."
        return warn("peers.port", "the agent that runs does not know of peers.listen yet", remedy)
    if error or not isinstance(part.get("port"), int):
        cause = plain(error.get("words")) if error else "the process that answers is not up"
        remedy = "Is the address this machine's own, and the port free? See `poolhand logs`."
        return warn("peers.port", f"{peers.listen}: {cause}", remedy)
    if refused := part.get("refused"):
        cause = f"{peers.listen} answers, and has refused {plain(refused)} with another key"
        return warn("peers.port", cause, "Put the same key into peers.key_file on every node.")
    return ok("peers.port", f"{peers.listen} answers; {plain(part.get('connections'))} connected")


def _reached(ground: Ground, peers: Peers, key: bytes) -> Iterator[Finding]:
    if not peers.urls:
        yield skipped("peers.reach", "peers.urls is empty: this node only gives")
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # few share weights

    from ..weights.cache import Cache  # noqa: PLC0415  # likewise
    from ..weights.peers_node import own_node  # noqa: PLC0415  # likewise

    own = own_node(Cache(cache_of(ground)).models)
    addresses = list(dict.fromkeys(peers.urls))

    def greeted(address: str) -> Finding:
        return _greeted(address, peers, key, own)

    with ThreadPoolExecutor(_AT_ONCE) as asking:
        yield from asking.map(greeted, addresses)


def _greeted(address: str, peers: Peers, key: bytes, own: bytes | None) -> Finding:
    from ..weights.peers_line import PeerFailed, PeerLine  # noqa: PLC0415  # few share weights

    try:
        line = PeerLine(host_and_port(address), key, wait_s=min(peers.wait_s, _STEP_S))
    except PeerFailed as failed:
        return warn("peers.reach", *_FAILED[failed.reason], address)
    line.close()
    cause = "this node itself" if line.node == own else "answers, and has the same key"
    return ok("peers.reach", cause, address)
