"""Checks of the way to the coordinator, one step at a time: what fails is told where it fails."""

import math
import socket
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from ...backends.stores.endpoints import bucket_url, choose, origin
from ...config.errors import ConfigError
from ...config.frozen import frozen
from ...config.settings import Coordinator
from .checks_told import Finding, Ground, fail, failed_by, ok, skipped, warn
from .render import plain, span

ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "line.proxy": "no proxy is set that the line would go around",
        "line.dns": "the coordinator's name has an address",
        "line.tcp": "somebody answers there",
        "line.tls": "its certificate holds: name, authority, dates; how long it still does",
        "line.upgrade": "it opens a line for a node",
        "clock.skew": "this machine's clock is near the coordinator's, else the store's",
    }
)
STEP_S = 4.0
"""Seconds that each step of the way may take."""

GOODBYE_S = 1.0
"""Seconds for the polite end of a line on which nothing was said."""

_PROXIES = ("https_proxy", "http_proxy", "all_proxy", "wss_proxy", "ws_proxy")
_SOON_S = 14 * 86400.0
"""A certificate that ends sooner is told of."""

SKEW_WARN_S, SKEW_FAIL_S = 30.0, 300.0
"""An S3 store refuses signatures that are 15 minutes off, and tokens end sooner.

Source:
    Amazon S3, "RequestTimeTooSkewed"; the bounds below it are our choice.
"""

_REMEDIES: Mapping[int, str] = MappingProxyType(
    {
        9: "Look at this machine's clock: the certificate is not valid yet.",
        10: "Have it renewed, or look at this machine's clock: the certificate has expired.",
        18: "Name its certificate in coordinator.ca_file, if it is your own.",
        19: "Name its authority in coordinator.ca_file, if it is your own.",
        20: "Name its authority in coordinator.ca_file, if it is your own.",
        62: "Use the name that the certificate was made for in coordinator.url.",
        64: "Use the name that the certificate was made for in coordinator.url.",
    }
)
"""By what is wrong with a certificate. Source: OpenSSL, x509_vfy.h, X509_V_ERR."""


@frozen
class _Peer:
    host: str
    port: int


def look(ground: Ground) -> Iterator[Finding]:
    """Go the way to the coordinator; the first step that fails ends it."""
    section = ground.settings.coordinator
    parts = urlsplit(section.socket_url)
    peer = _Peer(parts.hostname or "", parts.port or (443 if section.is_encrypted else 80))
    yield _proxy(ground, section)
    found, addresses = _resolved(peer)
    yield found
    date = None
    if addresses:
        found, is_there = _reached(peer, addresses)
        yield found
        if is_there:
            yield (found := _tls(section, peer))
            if found.verdict == "fail":
                yield skipped("line.upgrade", "TLS failed")
            else:
                import asyncio  # noqa: PLC0415  # only once somebody answers

                found, date = asyncio.run(_upgraded(section))
                yield found
        else:
            yield from _left_out("nobody answers", "line.tls", "line.upgrade")
    else:
        yield from _left_out("there is no address", "line.tcp", "line.tls", "line.upgrade")
    yield _skew(date, "coordinator") if date else _skew_of_a_store(ground)


def _left_out(why: str, *checks: str) -> Iterator[Finding]:
    for check in checks:
        yield skipped(check, why)


def _proxy(ground: Ground, section: Coordinator) -> Finding:
    names = [name for name in ground.environ if name.lower() in _PROXIES and ground.environ[name]]
    if not names:
        return ok("line.proxy", "none is set")
    if section.is_loopback:
        return ok("line.proxy", f"{', '.join(names)} set, but the line stays on this machine")
    cause = f"{', '.join(sorted(names))} is set, and the line goes to the coordinator without it"
    remedy = "Allow this machine to reach the coordinator directly; the line uses no proxy."
    return warn("line.proxy", cause, remedy)


def _resolved(peer: _Peer) -> tuple[Finding, list[str]]:
    began_s = time.monotonic()
    try:
        found = socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        cause = f"{peer.host} has no address: {error}"
        return fail("line.dns", cause, "Check coordinator.url and this machine's DNS."), []
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    shown = ", ".join(addresses[:4])
    return ok("line.dns", f"{peer.host} is {shown} ({_ms(began_s)})"), addresses


def _reached(peer: _Peer, addresses: list[str]) -> tuple[Finding, bool]:
    reasons: list[str] = []
    for address in addresses[:4]:
        began_s = time.monotonic()
        try:
            with socket.create_connection((address, peer.port), STEP_S / 2):
                return ok("line.tcp", f"{address} port {peer.port} answers ({_ms(began_s)})"), True
        except OSError as error:
            reasons.append(f"{address}: {error.strerror or error}")
    cause = f"nobody answers at port {peer.port}: {'; '.join(reasons)}"
    remedy = "Is the coordinator up? Does a firewall let this machine out to that port?"
    return fail("line.tcp", cause, remedy), False


def _tls(section: Coordinator, peer: _Peer) -> Finding:
    if not section.is_encrypted:
        where = "stays on this machine" if section.is_loopback else "is in clear text, as allowed"
        return skipped("line.tls", f"the line {where}")
    import ssl  # noqa: PLC0415  # only for this

    from ..runtime.link import trust  # noqa: PLC0415  # it imports the library of WebSockets

    try:
        context = trust(section.ca_file)
        with (
            socket.create_connection((peer.host, peer.port), STEP_S) as raw,
            context.wrap_socket(raw, server_hostname=peer.host) as secured,
        ):
            certificate, version = secured.getpeercert() or {}, secured.version()
    except ssl.SSLCertVerificationError as error:
        cause = f"the certificate of {peer.host} does not hold: {error.verify_message}"
        whose = f" (trusting {section.ca_file} alone)" if section.ca_file else ""
        remedy = _REMEDIES.get(error.verify_code, "Look at the coordinator's certificate.")
        return fail("line.tls", cause + whose, remedy)
    except OSError as error:
        cause = f"no TLS with {peer.host}: {error.strerror or error}"
        return fail("line.tls", plain(cause), "Does it speak TLS at that port?")
    ends = certificate.get("notAfter")
    left_s = ssl.cert_time_to_seconds(ends) - time.time() if isinstance(ends, str) else math.inf
    if left_s < _SOON_S:
        cause = f"the certificate of {peer.host} ends in {span(max(left_s, 0.0))}"
        return warn("line.tls", cause, "Have it renewed; the line goes down when it ends.")
    lasts = f", valid for {span(left_s)}" if math.isfinite(left_s) else ""
    whose = f", by {section.ca_file}" if section.ca_file else ""
    return ok("line.tls", f"{version}{lasts}{whose}")


async def _upgraded(section: Coordinator) -> tuple[Finding, str | None]:
    """Dial as the agent does, say nothing, and leave; and what time it is there."""
    import asyncio  # noqa: PLC0415  # only once somebody answers

    from websockets.exceptions import (  # noqa: PLC0415  # likewise
        InvalidHandshake,
        InvalidStatus,
        InvalidURI,
    )

    from ..runtime.link import dialled, refusal  # noqa: PLC0415  # likewise

    began_s = time.monotonic()
    quick = section.model_copy(update={"dial_timeout_s": min(section.dial_timeout_s, STEP_S)})
    try:
        connection = await dialled(quick)
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI, UnicodeError) as failed:
        date = failed.response.headers.get("Date") if isinstance(failed, InvalidStatus) else None
        return failed_by("line.upgrade", refusal(failed, section.socket_url)[1]), date
    took = _ms(began_s)
    date = None if connection.response is None else connection.response.headers.get("Date")
    try:
        async with asyncio.timeout(GOODBYE_S):
            await connection.close()
    except TimeoutError:
        pass
    finally:
        connection.transport.abort()
    return ok("line.upgrade", f"{section.socket_url} opens a line ({took})"), date


def _skew(date: str, whose: str) -> Finding:
    from ...config.dates import http_date_s  # noqa: PLC0415  # only once somebody told it

    if (theirs_s := http_date_s(date)) is None:
        return skipped("clock.skew", f"the {whose}'s date cannot be read")
    # a date is cut to whole seconds: it stands for the middle of one
    ahead_s = time.time() - (theirs_s + 0.5)
    way = "ahead of" if ahead_s > 0 else "behind"
    cause = f"this clock is {abs(ahead_s):.0f} s {way} the {whose}'s"
    if abs(ahead_s) >= SKEW_WARN_S:
        told = fail if abs(ahead_s) >= SKEW_FAIL_S else warn
        return told("clock.skew", cause, "Have the clock set: `timedatectl set-ntp true`, sntp.")
    return ok("clock.skew", f"within {max(2.0, abs(ahead_s)):.0f} s of the {whose}'s clock")


def _skew_of_a_store(ground: Ground) -> Finding:
    """The coordinator told no time: the first S3 store may."""
    refs = [one.place for one in ground.settings.models if not one.is_elsewhere]
    ref = next((one for one in refs if one.scheme == "s3"), None)
    if ref is None:
        return skipped("clock.skew", "the coordinator told no time, and there is no S3 store")
    try:
        chosen = choose(ground.settings.stores.s3, ground.environ, ref.container)
    except ConfigError as error:
        return skipped("clock.skew", f"nobody told the time: {error}")
    import http.client  # noqa: PLC0415  # only for this

    place = origin(bucket_url(chosen, ref.container))
    kind = http.client.HTTPSConnection if place.is_tls else http.client.HTTPConnection
    connection = kind(place.host, place.port, timeout=STEP_S / 2)
    try:
        connection.request("HEAD", "/")
        date = connection.getresponse().headers.get("Date")
    except (OSError, http.client.HTTPException) as error:
        return skipped("clock.skew", f"nobody told the time: {plain(error)}")
    finally:
        connection.close()
    return _skew(date, "store") if date else skipped("clock.skew", "nobody told the time")


def _ms(began_s: float) -> str:
    return f"{1000 * (time.monotonic() - began_s):.0f} ms"
