"""Where no store may lead this node: the table, by address, by URL and by what a name says."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.stores.addresses import (
    Guard,
    address_problem,
    named,
    resolve,
)
from poolhand.backends.stores.errors import StoreUnreachable, StoreUnsafe
from poolhand.config.loopback import is_loopback

FORBIDDEN = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "0.0.0.0": "unspecified",  # noqa: S104  # refused here
    "0.1.2.3": "private",
    "10.0.0.1": "private",
    "10.255.255.255": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.0.1": "private",
    "192.0.0.8": "private",
    "192.0.2.1": "private",
    "198.18.0.1": "private",
    "198.51.100.1": "private",
    "203.0.113.1": "private",
    "169.254.169.254": "link-local",
    "169.254.170.2": "link-local",
    "100.64.0.1": "not public",
    "100.100.100.200": "not public",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "private",
    "255.255.255.255": "private",
    "::": "unspecified",
    "::1": "loopback",
    "::127.0.0.1": "loopback",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "fc00::1": "private",
    "fd00:ec2::254": "private",
    "fec0::1": "private",
    "ff02::1": "multicast",
    "2001:db8::1": "private",
    "100::1": "private",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:10.0.0.1": "private",
    "::ffff:169.254.169.254": "link-local",
    "64:ff9b::7f00:1": "loopback",
    "64:ff9b::a9fe:a9fe": "link-local",
    "64:ff9b::a00:1": "private",
    "64:ff9b:1::a00:1": "private",
    "2002:7f00:1::": "loopback",
    "2002:a9fe:a9fe::1": "link-local",
    "2001:0:a9fe:a9fe::1": "link-local",
    "no address": "unreadable",
    "": "unreadable",
}
"""Each with a word that says why."""

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "169.253.0.1",
    "2606:4700::1111",
    "2a00:1450:4001::5",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize(("address", "why"), FORBIDDEN.items())
def test_an_address_that_is_not_public(address: str, why: str) -> None:
    assert address_problem(address) == why


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address(address: str) -> None:
    assert address_problem(address) == ""


@given(st.ip_addresses(v=4))
def test_law_an_ipv6_coat_changes_nothing(address: object) -> None:
    octets = [int(part) for part in str(address).split(".")]
    inner = f"{octets[0] << 8 | octets[1]:x}:{octets[2] << 8 | octets[3]:x}"
    for coat in (f"::ffff:{address}", f"64:ff9b::{inner}"):
        assert address_problem(coat) == address_problem(str(address))
    if address_problem(str(address)):
        assert address_problem(f"2002:{inner}::1") != ""


def known(answers: Sequence[str]) -> Callable[[str, int], Sequence[str]]:
    return lambda _host, _port: answers


def guard(answers: Sequence[str] = ("8.8.8.8",), trusted: Sequence[str] = ()) -> Guard:
    return Guard("s", trusted, known(answers))


@pytest.mark.parametrize("address", [one for one in FORBIDDEN if one and " " not in one])
def test_a_name_is_what_it_resolves_to(address: str) -> None:
    with pytest.raises(StoreUnsafe, match=r"cdn\.example.*stores\.trusted_hosts"):
        guard([address]).admit("https://cdn.example/x")
    with pytest.raises(StoreUnsafe):
        guard(["8.8.8.8", address]).admit("https://cdn.example/x")


ODD_HOSTS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "0",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
]


@pytest.mark.parametrize("host", ODD_HOSTS)
def test_odd_spellings_of_this_machine_and_its_metadata(host: str) -> None:
    with pytest.raises(StoreUnsafe, match="its address is"):
        Guard("s", [], resolve).admit(f"https://{host}/x")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/x",
        "file:///etc/passwd",
        "gopher://a.example/",
        "//a.example/x",
        "https://",
        "https:///x",
        "https://user:word@a.example/x",
        "https://a.example@127.0.0.1/x",
        "https://a.example:0/x",
        "https://a.example:port/x",
        "https://a.example/a b",
        "https://a.example/\r\nX-Evil: 1",
        "https://a.example\\@b.example/",
        "https://ä.example/x",
        "https://[::1/x",
        "",
    ],
)
def test_what_is_no_plain_web_address(url: str) -> None:
    with pytest.raises(StoreUnsafe):
        guard().admit(url)


def test_an_open_line_only_to_whom_the_operator_named() -> None:
    with pytest.raises(StoreUnsafe, match="not encrypted"):
        guard().admit("http://a.example/x")
    assert guard(trusted=["a.example"]).admit("http://a.example/x").is_trusted
    assert not guard().admit("https://a.example/x").is_trusted


@pytest.mark.parametrize(
    ("trusted", "url", "is_admitted"),
    [
        ("10.0.0.5", "https://10.0.0.5/x", True),
        ("10.0.0.5:9000", "http://10.0.0.5:9000/x", True),
        ("10.0.0.5:9000", "http://10.0.0.5:9001/x", False),
        ("10.0.0.5", "https://10.0.0.6/x", False),
        ("Store.Lan", "http://store.lan:9000/x", True),
        ("store.lan", "http://store.lan./x", True),
        ("store.lan", "http://store.lan.evil.example/x", False),
        ("store.lan", "http://xstore.lan/x", False),
        ("::1", "http://[::1]:9/x", True),
        ("[::1]:9", "http://[::1]:9/x", True),
        ("[::1]:9", "http://[::1]:8/x", False),
    ],
)
def test_trust_is_for_that_host_and_port(trusted: str, url: str, *, is_admitted: bool) -> None:
    judge = guard(["10.0.0.5"], [trusted])
    if is_admitted:
        assert judge.admit(url).address == "10.0.0.5"
    else:
        with pytest.raises(StoreUnsafe):
            judge.admit(url)


def test_what_was_judged_is_what_is_connected_to() -> None:
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])
    peer = Guard("s", [], lambda _host, _port: next(answers)).admit("https://a.example:8443/x")
    assert (peer.address, peer.origin.authority) == ("8.8.8.8", "a.example:8443")


def test_a_name_without_an_address_is_unreachable() -> None:
    def nobody(host: str, port: int) -> Sequence[str]:
        raise OSError

    for answer in (nobody, known([])):
        with pytest.raises(StoreUnreachable, match="has no address"):
            Guard("s", [], answer).admit("https://a.example/x")


def test_hosts_by_name() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.9", "[::1]", "::1"))
    assert not any(is_loopback(host) for host in ("a.example", "10.0.0.1", "localhost.example"))
    assert named("https://a.example/x") == "a.example:443"
    assert named("http://[::1]/x") == "[::1]:80"
    assert named("nonsense") == named("http://[") == ""
