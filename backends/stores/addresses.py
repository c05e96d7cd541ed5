"""May this node talk to that host? Asked of every address that did not come from the operator.

A manifest, a redirect or a name server may point anywhere: at a cloud's metadata, at a router,
at a service that trusts its own machine. So a host that the operator did not name has to be
reached over TLS and has to have public addresses only. Names are judged by what they resolve
to, never by how they look, so that ``127.1`` and ``0x7f000001`` are what they are. What was
judged is what is connected to. A name that points elsewhere a moment later gains nothing over
TLS: it would have to show a certificate.
"""

import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from ...config.frozen import frozen
from .endpoints import Origin, origin
from .errors import StoreUnreachable, StoreUnsafe

Resolve = Callable[[str, int], Sequence[str]]
"""Takes a host and a port, gives its addresses; raises ``OSError`` if there are none."""

_NAT64 = IPv6Network("64:ff9b::/96")
"""Source: RFC 6052, 2.1."""

_NEVER = (ip_network("192.0.0.0/24"), ip_network("64:ff9b:1::/48"))
"""For protocols and for networks' own use; not every Python knows. Source: RFC 6890, RFC 8215."""


@frozen
class Peer:
    """Whom to connect to, judged.

    Attributes:
        address: Numeric; connect to this one and to no other.
        is_trusted: Whether the operator named it.
    """

    origin: Origin
    address: str
    is_trusted: bool


def resolve(host: str, port: int) -> tuple[str, ...]:
    """Ask the system's resolver.

    Raises:
        OSError: It knows no address.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(where[4][0]) for where in found))


def address_problem(text: str) -> str:
    """Why an address is none of the public internet.

    Args:
        text: Numeric; an IPv6 zone is left out.

    Returns:
        One word or two; empty if it is public. An IPv6 address that carries an IPv4 address
        is judged by that one, too.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return "unreadable"
    if isinstance(address, IPv6Address):
        for inner in _carried(address):
            if problem := _problem(inner):
                return problem
        if address.ipv4_mapped is not None or address in _NAT64:
            return ""
    return _problem(address)


class Guard:
    """What one store may be led to.

    Args:
        store: For messages.
        trusted: ``host`` or ``host:port``, as the operator named them.
        resolve: From a name to its addresses.
    """

    def __init__(self, store: str, trusted: Iterable[str], resolve: Resolve = resolve) -> None:
        self._store = store
        self._trusted = frozenset(name.lower().rstrip(".") for name in trusted)
        self._resolve = resolve

    def admit(self, url: str) -> Peer:
        """Judge a URL before anything is sent there; blocks for the resolver.

        Raises:
            StoreUnsafe: It must not be touched.
            StoreUnreachable: Its host has no address.
        """
        place = self._origin(url)
        is_trusted = self._is_trusted(place)
        if not (place.is_tls or is_trusted):
            raise self._refused(place, "its line is not encrypted")
        try:
            addresses = self._resolve(place.host, place.port)
        except (OSError, UnicodeError):
            reason = f"{place.authority} has no address"
            raise StoreUnreachable(store=self._store, reason=reason) from None
        for address in () if is_trusted else addresses:
            if problem := address_problem(address):
                raise self._refused(place, f"its address is {problem}")
        if not addresses:
            reason = f"{place.authority} has no address"
            raise StoreUnreachable(store=self._store, reason=reason)
        return Peer(place, addresses[0], is_trusted)

    def _origin(self, url: str) -> Origin:
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            raise StoreUnsafe(store=self._store, reason="it names what is no URL") from None
        is_plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
        if parts.scheme not in {"http", "https"} or not parts.hostname or not is_plain:
            raise StoreUnsafe(store=self._store, reason="it names what is no http(s) URL")
        if "@" in parts.netloc or parts.port == 0:
            raise StoreUnsafe(store=self._store, reason="it names a URL with a user or no port")
        return origin(url)

    def _is_trusted(self, place: Origin) -> bool:
        host = place.host.rstrip(".")
        shown = f"[{host}]" if ":" in host else host
        return not self._trusted.isdisjoint({host, shown, f"{shown}:{place.port}"})

    def _refused(self, place: Origin, why: str) -> StoreUnsafe:
        reason = f"it leads to {place.authority}: {why}, and stores.trusted_hosts does not name it"
        return StoreUnsafe(store=self._store, reason=reason)


def named(url: str) -> str:
    """A URL's ``host:port``, as :class:`Guard` takes it; empty if it is no URL."""
    try:
        place = origin(url)
    except ValueError:
        return ""
    shown = f"[{place.host}]" if ":" in place.host else place.host
    return f"{shown}:{place.port}" if place.host else ""


def _carried(address: IPv6Address) -> list[IPv4Address]:
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    is_compatible = int(address) >> 32 == 0 and not (address.is_loopback or address.is_unspecified)
    if address in _NAT64 or is_compatible:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def _problem(address: IPv4Address | IPv6Address) -> str:
    if address.is_unspecified:
        return "unspecified"
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    if isinstance(address, IPv6Address) and address.is_site_local:
        return "private"
    if address.is_private or any(address in net for net in _NEVER):
        return "private"
    if address.is_reserved:
        return "reserved"
    return "" if address.is_global else "not public"
