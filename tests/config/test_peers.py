"""The table ``[peers]``: off by default, addresses that mean something, never without a key."""

import pytest

from poolhand.config.peers import NO_PEERS, Peers, host_and_port
from poolhand.config.rules import Invalid


def test_nobody_is_asked_or_answered_by_default() -> None:
    assert Peers() == NO_PEERS
    assert not NO_PEERS.is_on
    assert NO_PEERS.listen is None


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("192.168.1.20:7717", "192.168.1.20", 7717),
        ("[fd00::20]:7717", "fd00::20", 7717),
        ("mac-7.local:1", "mac-7.local", 1),
        ("0.0.0.0:65535", "0.0.0.0", 65535),  # noqa: S104  # as an operator may want it
    ],
)
def test_an_address_has_two_parts(address: str, host: str, port: int) -> None:
    peers = Peers(listen=address, urls=(address,), key_file="/k")
    assert peers.is_on
    assert host_and_port(address) == (host, port)


@pytest.mark.parametrize(
    "address",
    [
        *("", "host", ":7717", "host:0", "host:65536", "host:x", "host:-1", "http://host:7717"),
        *("host:7717/path", "user@host:7717", "host:7717?x", "host:7717#x", "ho st:7717"),
        *("[fd00::20:7717", "host:7717\n"),
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Invalid, match=r"HOST:PORT"):
        _ = Peers(urls=(address,), key_file="/k")
    with pytest.raises(Invalid, match=r"HOST:PORT"):
        _ = Peers(listen=address, key_file="/k")


@pytest.mark.parametrize("said", [{"listen": "127.0.0.1:1"}, {"urls": ("127.0.0.1:1",)}])
def test_without_a_key_nobody_is_asked_or_answered(said: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="key_file"):
        _ = Peers.model_validate(said)


@pytest.mark.parametrize(
    "said",
    [
        {"max_bytes_per_s": 0},
        {"max_connections": 0},
        {"gather_s": -1},
        {"gather_s": float("inf")},
        {"wait_s": 0},
        {"port": 7},
    ],
)
def test_bounds_are_held(said: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        _ = Peers.model_validate(said)


def test_either_side_alone_will_do() -> None:
    assert Peers(listen="127.0.0.1:1", key_file="/k").is_on
    assert Peers(urls=("127.0.0.1:1",), key_file="/k").is_on
