"""The control plane over plain HTTPS: one answer at a time, redirects and headers under control.

Shared by the stores that are no S3. Standard library only, in threads. An ``Authorization``
goes to the origin that was asked and to no other; redirects are followed at most three times,
each judged by :class:`~.addresses.Guard` before anything is sent. No proxy is used and no
cookie kept. A store's own words never travel on: they may repeat a token or a signed URL.
"""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import field
from types import MappingProxyType
from urllib.parse import urljoin

from ...config.frozen import frozen
from ...config.patterns import pattern
from .addresses import Guard, Peer
from .endpoints import Origin
from .errors import ModelMissing, StoreDenied, StoreUnreachable, WeightsChanged, WeightsError

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 15.0
WHOLE_TIMEOUT_S = 30.0
"""For one answer from its first byte to its last: a drip is no progress."""

MOST_REDIRECTS = 3
ATTEMPTS = 2
"""One more for a store that is busy or had closed the line; the next fetch does the rest."""

_LONGEST_PAUSE_S = 5.0
_USUAL_PAUSE_S = 0.5
_SMALL_BYTES = 2**16
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_SPENT = pattern(r";\s*r=0\s*;\s*t=([0-9]{1,6})")
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@frozen
class Answer:
    """What came back.

    Attributes:
        headers: Names in lower case.
        body: Empty if it was not asked for.
        url: Who answered, after all redirects; may be signed, so it is never shown.
        is_home: Whether that is the origin that was asked, which may see the authorization.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    url: str = field(repr=False)
    is_home: bool


class HttpClient:
    """Asks one store; safe to use from many threads.

    Args:
        store: For messages.
        guard: Judges every URL before it is touched.
        ca_file: PEM file to trust instead of the system's authorities.
        pause: Waits so many seconds before the second attempt.
        whole_timeout_s: For one answer, its last byte included.
    """

    def __init__(
        self,
        store: str,
        guard: Guard,
        *,
        ca_file: str | None = None,
        pause: Callable[[float], None] = time.sleep,
        whole_timeout_s: float = WHOLE_TIMEOUT_S,
    ) -> None:
        self._whole_timeout_s = whole_timeout_s
        self.store = store
        self.ca_file = ca_file
        self._guard = guard
        self._pause = pause
        self._lock = threading.Lock()
        self._idle: dict[Origin, list[http.client.HTTPConnection]] = {}

    def ask(
        self,
        url: str,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        auth: Mapping[str, str] = _NO_HEADERS,
        most_bytes: int = 0,
        form: bytes | None = None,
    ) -> Answer:
        """Send one GET, or a POST if there is a form, and follow where it leads.

        Args:
            url: Absolute.
            headers: Sent wherever it leads.
            auth: Sent to the origin of ``url`` only.
            most_bytes: Of the body; 0 leaves it unread.
            form: Body of a POST, URL-encoded unless a header says otherwise; it is never sent
                twice and never redirected.

        Returns:
            The last answer, whatever its status.

        Raises:
            StoreUnsafe: It leads where this node must not go.
            StoreUnreachable: No answer, no sensible one, or a body longer than ``most_bytes``.
        """
        home: Origin | None = None
        for _ in range(MOST_REDIRECTS + 1):
            peer = self._guard.admit(url)
            place = _bare(peer.origin)
            home = home or place
            is_home = place == home
            sent = {"accept-encoding": "identity", **headers, **(auth if is_home else {})}
            answer = self._twice(peer, url, sent, most_bytes, form, is_home=is_home)
            leads_to = answer.headers.get("location", "")
            if answer.status not in _REDIRECTS or not leads_to or form is not None:
                return answer
            url = urljoin(url, leads_to)
        reason = f"it redirects more than {MOST_REDIRECTS} times"
        raise StoreUnreachable(store=self.store, reason=reason)

    def close(self) -> None:
        """Give back idle connections; safe to call twice."""
        with self._lock:
            idle = [one for all_of_it in self._idle.values() for one in all_of_it]
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _twice(
        self,
        peer: Peer,
        url: str,
        headers: Mapping[str, str],
        most_bytes: int,
        form: bytes | None,
        *,
        is_home: bool,
    ) -> Answer:
        attempts = ATTEMPTS if form is None else 1
        for attempt in range(attempts):
            is_last = attempt == attempts - 1
            try:
                answer = self._once(peer, url, headers, most_bytes, form, is_home=is_home)
            except (OSError, http.client.HTTPException) as error:
                self.close()  # what died on one idle line may have died on all
                if is_last:
                    reason = _words(error)
                    raise StoreUnreachable(store=self.store, reason=reason) from None
                continue
            if is_last or answer.status not in _BUSY:
                return answer
            self._pause(_pause_s(_asked_s(answer.headers)))
        raise AssertionError(attempts)

    def _once(
        self,
        peer: Peer,
        url: str,
        headers: Mapping[str, str],
        most_bytes: int,
        form: bytes | None,
        *,
        is_home: bool,
    ) -> Answer:
        connection = self._connection(peer, is_fresh=form is not None)
        is_kept = False
        is_late = threading.Event()
        alarm = threading.Timer(self._whole_timeout_s, _hang_up, (connection.sock, is_late))
        alarm.daemon = True
        alarm.start()
        try:
            target = "/" + url.partition("://")[2].partition("#")[0].partition("/")[2]
            method = "GET" if form is None else "POST"
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            sent = {"host": peer.origin.authority, **headers}
            if form is not None:
                _ = sent.setdefault("content-type", "application/x-www-form-urlencoded")
                sent["content-length"] = str(len(form))
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders(form)
            response = connection.getresponse()
            body = self._body(response, most_bytes)
            if is_late.is_set():  # else a body without a length would pass for whole
                raise TimeoutError
            is_kept = response.isclosed() and not response.will_close
        finally:
            alarm.cancel()
            if not is_kept:
                connection.close()
        with self._lock:
            if is_kept:
                self._idle.setdefault(_bare(peer.origin), []).append(connection)
        told = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, told, body, url, is_home)

    def _body(self, response: http.client.HTTPResponse, most_bytes: int) -> bytes:
        if most_bytes == 0:
            if response.length is not None and response.length <= _SMALL_BYTES:
                _ = response.read()  # so that the line can be used again
            return b""
        body = response.read(most_bytes + 1)
        if len(body) > most_bytes:
            if response.status not in {200, 206}:
                return b""
            reason = f"it sends more than {most_bytes} bytes where that is the most"
            raise StoreUnreachable(store=self.store, reason=reason)
        if response.length:
            raise http.client.IncompleteRead(body)
        return body

    def _connection(self, peer: Peer, *, is_fresh: bool) -> http.client.HTTPConnection:
        place = peer.origin
        with self._lock:
            idle = self._idle.get(_bare(place), [])
            if idle and not is_fresh:
                return idle.pop()
        connection = http.client.HTTPConnection(place.host, place.port)
        with ExitStack() as undo:
            sock = socket.create_connection((peer.address, place.port), CONNECT_TIMEOUT_S)
            _ = undo.enter_context(sock)
            sock.settimeout(READ_TIMEOUT_S)
            if place.is_tls:
                context = ssl.create_default_context(cafile=self.ca_file)
                sock = context.wrap_socket(sock, server_hostname=place.host)
            _ = undo.pop_all()  # from here on the connection closes it
        connection.sock = sock
        return connection


def refusal(
    answer: Answer, *, store: str, model: str, file: str = "", denied: str = ""
) -> WeightsError:
    """What an answer means that is not the one that was hoped for.

    Args:
        answer: Of any status.
        store: For the message.
        model: For the message.
        file: The path, if one file was asked for; empty for a listing.
        denied: What to say where access is denied; empty: the status.
    """
    status = answer.status
    if status in {404, 410, 412, 416} and file:
        return WeightsChanged(model=model, file=file)
    if status in {404, 410}:
        return ModelMissing(model=model, reason=f"the store answers {status}")
    if status in {401, 403, 407, 451}:
        return StoreDenied(store=store, reason=denied or f"it answers {status}")
    if status in _BUSY:
        asked = _asked_s(answer.headers)
        wait = f", and asks for {asked} s of patience" if asked.isdecimal() else ""
        reason = f"it is busy or broken ({status}){wait}"
        return StoreUnreachable(store=store, reason=reason, is_busy=True)
    return StoreUnreachable(store=store, reason=f"it answers {status}")


def _hang_up(sock: socket.socket, is_late: threading.Event) -> None:
    is_late.set()
    with suppress(OSError):  # closed already
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _bare(place: Origin) -> Origin:
    return Origin(place.host, place.port, place.is_tls, place.authority, "")


def _asked_s(headers: Mapping[str, str]) -> str:
    """For how long a store wants to be left alone, in its own words; empty: it does not say.

    Source:
        RFC 9110, 10.2.3; draft-ietf-httpapi-ratelimit-headers-10, as the hub has it.
    """
    found = _SPENT.search(headers.get("ratelimit", ""))
    return headers.get("retry-after", "") or ("" if found is None else found[1])


def _pause_s(asked: str) -> float:
    with suppress(ValueError):
        return min(max(float(asked), 0.0), _LONGEST_PAUSE_S)
    return _USUAL_PAUSE_S


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "its TLS certificate is not trusted, or the TLS handshake failed"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return f"no connection: {error.strerror}"
    return f"no sensible answer ({type(error).__name__})"
