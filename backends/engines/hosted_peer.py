"""Whom an engine elsewhere talks to: judged by address, each time it is dialled.

A name may point anywhere, and elsewhere a moment later. So the addresses behind it are looked up
and judged here, and the call goes to one of them: nobody else looks the name up in between.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from ...config.errors import ConfigInvalid
from ...config.external import External
from ...config.loopback import is_loopback
from ..stores.addresses import address_problem, resolve
from .chat_http import refused
from .hosted_errors import ProviderUnreachable, ProviderUnsafe
from .hosted_refusals import verdict
from .http_call import CallFailed, Lines, Peer, Unreachable, call

DENIED = frozenset({401, 402, 403})
"""Statuses that say something of the key or the account."""

Resolve = Callable[[str, int], Sequence[str]]


class Peers:
    """The addresses of one provider, as peers of calls.

    Attributes:
        host: For messages.
        lines: The connections that are open now.

    Args:
        external: Where it is, and which of its addresses may be private.
        find: From a host and a port to addresses; raises ``OSError`` if there are none.
    """

    def __init__(self, external: External, *, find: Resolve = resolve) -> None:
        parts = urlsplit(external.url)
        self.host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._url = f"{parts.scheme}://{parts.netloc}"
        self._external = external
        self._find = find
        self.lines = Lines()
        self._tls: ssl.SSLContext | None = None

    async def open(self) -> None:
        """Read whom to trust; once, for it takes a while.

        Raises:
            ConfigInvalid: ``ca_file`` is no file of certificates.
        """
        if not self._url.startswith("https:"):
            return
        ca_file = self._external.ca_file
        try:
            self._tls = await asyncio.to_thread(ssl.create_default_context, cafile=ca_file)
        except (OSError, ssl.SSLError):
            problem = "external.ca_file holds no certificates that can be read"
            raise ConfigInvalid(path=ca_file or "", line=None, problem=problem) from None

    async def all(self, headers: Mapping[str, str]) -> list[Peer]:
        """Every address of the provider, in the resolver's order.

        Args:
            headers: Sent with every call; the key is among them.

        Raises:
            ProviderUnsafe: One of them is none that this node may talk to.
            ProviderUnreachable: There is none.
        """
        try:
            found = await asyncio.to_thread(self._find, self.host, self._port)
        except (OSError, UnicodeError):
            found = ()
        if not found:
            raise ProviderUnreachable(host=self.host, reason="it has no address")
        for address in found:
            if self._url.startswith("http:") and not is_loopback(address):
                reason = "on another machine, and the line is not encrypted"
                raise ProviderUnsafe(host=self.host, reason=reason)
            if (problem := address_problem(address)) and not self._is_meant(address):
                raise ProviderUnsafe(host=self.host, reason=problem)
        return [
            Peer(self._url, headers, address=address, tls=self._tls, lines=self.lines)
            for address in found
        ]

    async def look(self, headers: Mapping[str, str], target: str, own: Mapping[str, str]) -> None:
        """Have the provider take the key, by asking for its models, which costs nothing.

        Many have no such list, or are busy now; that is no matter here.

        Args:
            headers: As for :meth:`all`.
            target: Where the list is.
            own: The dialect's own headers.

        Raises:
            ProviderRefused: It does not take the key.
            ProviderUnsafe: As for :meth:`all`.
            ProviderUnreachable: Nobody answers, or not sensibly.
        """
        patience_s, reason = self._external.connect_timeout_s, "nobody answers"
        for peer in await self.all(headers):
            asked = call(
                peer, "GET", target, headers=own, connect_s=patience_s, silence_s=patience_s
            )
            try:
                async with asked as answer:
                    if answer.status in DENIED:
                        raise verdict(await refused(answer), host=self.host).error
            except Unreachable as failed:
                reason = str(failed)
            except CallFailed as failed:
                raise ProviderUnreachable(host=self.host, reason=str(failed)) from None
            else:
                return
        raise ProviderUnreachable(host=self.host, reason=reason)

    def _is_meant(self, address: str) -> bool:
        """Whether the operator has named the host or this very address."""
        named = {self.host, address}
        hosts = {name for one in named for name in (one, f"[{one}]" if ":" in one else one)}
        names = hosts | {f"{host}:{self._port}" for host in hosts}
        trusted = {name.lower() for name in self._external.trusted_hosts}
        if names & trusted:
            return True
        is_here = is_loopback(self.host) and is_loopback(address)
        return is_here and self._external.allow_http_to_loopback
