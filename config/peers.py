"""Whom this node shares weights with: the table ``[peers]``; light enough for the children."""

from typing import Annotated
from urllib.parse import urlsplit

from .rules import Bound, checks, whole
from .section import Section


class Peers(Section):
    """``[peers]``: weights from and for the other nodes of a pool, on one LAN; off by default.

    Attributes:
        listen: ``ADDRESS:PORT`` where this node serves verified bytes to its peers; unset: it
            serves nobody.
        urls: ``HOST:PORT`` of the peers; the same list on every node will do, for a node knows
            itself in it.
        key_file: A file of mode 0600 with the key that all peers of the pool share, of 32
            characters at least. It never travels.
        max_bytes_per_s: What all peers together may take of this node a second; unset: anything.
        max_connections: Peers' connections that are answered at once; more are turned away.
        gather_s: A peer that does not fetch the same build by then is no longer waited for.
        wait_s: A peer that was to bring a range and brings nothing for so long is passed over.
    """

    listen: str | None = None
    urls: tuple[str, ...] = ()
    key_file: str | None = None
    max_bytes_per_s: Annotated[int, Bound(ge=1)] | None = None
    max_connections: Annotated[int, Bound(ge=1, le=1024)] = 64
    gather_s: Annotated[float, Bound(ge=0, le=60)] = 2.0
    wait_s: Annotated[float, Bound(ge=1, le=600)] = 5.0

    @checks("listen")
    @staticmethod
    def _is_an_address(listen: str | None) -> str | None:
        return listen if listen is None else checked(listen)

    @checks("urls")
    @staticmethod
    def _are_addresses(urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked(url) for url in urls)

    @whole
    def _has_a_key(self) -> None:
        if (self.listen is not None or self.urls) and self.key_file is None:
            problem = "name a key_file: peers prove to each other that they share a key"
            raise ValueError(problem)

    @property
    def is_on(self) -> bool:
        """Whether peers are asked or answered at all."""
        return self.listen is not None or bool(self.urls)


NO_PEERS = Peers()
"""Nobody is asked, and nobody is answered."""


def host_and_port(address: str) -> tuple[str, int]:
    """The two parts of an address that was checked; an IPv6 address without its brackets."""
    parts = urlsplit(f"//{address}")
    return parts.hostname or "", parts.port or 0


def checked(address: str) -> str:
    """The same address.

    Raises:
        ValueError: It is no ``HOST:PORT``.
    """
    problem = "must be HOST:PORT, such as 192.168.1.20:7717 or [fd00::20]:7717"
    try:
        host, port = host_and_port(address)
    except ValueError as error:
        raise ValueError(problem) from error
    if not host or not port or set(address) & set("/?#@ ") or not address.isprintable():
        raise ValueError(problem)
    return address
