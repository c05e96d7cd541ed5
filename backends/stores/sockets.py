"""How bytes come off one socket: plain, or over TLS.

Nothing here knows HTTP, and nothing waits longer than a tick without saying so. TLS is decrypted
out of memory: a GiB of it comes in 65,536 records, and the library's own socket asks the kernel
twice for each; here one call brings many of them.

It stands on ``_socket``, which is below the library's ``socket``: to give names to the numbers
of the system takes that one a twentieth of a fetching child's start, and nobody here reads them.
"""

import _socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:  # plain HTTP does without
    import ssl

_RTT_AT = 68
"""Where the kernel's ``struct tcp_info`` has its microseconds. Source: linux/tcp.h."""

_SEALED_BYTES = 128 * 1024
"""So much is taken off the socket at once before it is decrypted: eight records."""


class Pipe(Protocol):
    """Both directions of a connection; its end is its socket's."""

    def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            OSError: The connection broke, or the other side takes nothing.
        """
        ...

    def fill(self, view: memoryview, *, is_filled: bool) -> int | None:
        """Take what comes next.

        Args:
            view: Where it goes.
            is_filled: Whether to fill that, as far as there is enough within a tick.

        Returns:
            How many bytes, 0 at the end; ``None`` if a tick passed in silence.

        Raises:
            OSError: The connection broke.
        """
        ...


class _Records(Protocol):
    """What decrypts: the library's own object below the one that it shows, or that one."""

    def read(self, most: int, into: memoryview, /) -> int: ...


def connected(host: str, port: int, limit_s: float) -> _socket.socket:
    """A connection to the first of a host's addresses that takes one.

    Args:
        host: Name or address.
        port: Of TCP.
        limit_s: Seconds for each address, and for every call until it is a pipe's.

    Raises:
        OSError: None of them does.
    """
    # a text is looked at by a codec that takes a millisecond to import
    name = host.encode() if host.isascii() else host
    failed: list[OSError] = []
    for *kind, _name, address in _socket.getaddrinfo(name, port, 0, _socket.SOCK_STREAM):
        sock = None
        try:
            sock = _socket.socket(*kind)
            sock.settimeout(limit_s)
            sock.connect(address)
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError as error:
            failed.append(error)
            if sock is not None:
                sock.close()
        else:
            return sock
    raise failed[0] if failed else OSError(host)


def delay_s(sock: _socket.socket, took_s: float) -> float:
    """How long a connection that was just made takes there and back, in seconds.

    Args:
        sock: From :func:`connected`.
        took_s: How long that took, which on a busy machine is more.
    """
    if not hasattr(_socket, "TCP_INFO"):  # only Linux says what the kernel saw
        return took_s
    told = sock.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_INFO, _RTT_AT + 4)
    return min(took_s, int.from_bytes(told[_RTT_AT:], sys.byteorder) / 1e6)


class Plain:
    """A connection without TLS; see :class:`Pipe`.

    Args:
        sock: From :func:`connected`.
        tick_s: Seconds after which silence is told.
        limit_s: Seconds for which the other side may take nothing.
    """

    def __init__(self, sock: _socket.socket, *, tick_s: float, limit_s: float) -> None:
        _tick(sock, tick_s, limit_s)
        self._sock = sock

    def send(self, data: bytes) -> None:
        """See :meth:`Pipe.send`."""
        self._sock.sendall(data)

    def fill(self, view: memoryview, *, is_filled: bool) -> int | None:
        """See :meth:`Pipe.fill`."""
        try:
            return self._sock.recv_into(view, 0, _socket.MSG_WAITALL if is_filled else 0)
        except BlockingIOError:
            return None


class Tls:
    """A connection over TLS; see :class:`Pipe`.

    Args:
        sock: From :func:`connected`.
        context: Whom to trust.
        host: Who has to be there.
        tick_s: Seconds after which silence is told.
        limit_s: Seconds for which the other side may take nothing.

    Raises:
        OSError: No TLS, or none that can be trusted; ``TimeoutError``: not in time.
    """

    def __init__(
        self,
        sock: _socket.socket,
        context: "ssl.SSLContext",
        host: str,
        *,
        tick_s: float,
        limit_s: float,
    ) -> None:
        from ssl import MemoryBIO, SSLEOFError, SSLWantReadError  # noqa: PLC0415  # see above

        self._wants_more, self._is_cut_off = SSLWantReadError, SSLEOFError
        self._sock, self._tick_s = sock, tick_s
        self._came, self._goes = MemoryBIO(), MemoryBIO()
        self._sealed = memoryview(bytearray(_SEALED_BYTES))
        self._records = context.wrap_bio(self._came, self._goes, server_hostname=host)
        self._shake_hands(time.monotonic() + (sock.gettimeout() or limit_s))
        _tick(sock, tick_s, limit_s)
        # one layer of the library's lies over this one, and whoever is in it keeps others out
        self._decrypt = cast("_Records", getattr(self._records, "_sslobj", self._records)).read

    def send(self, data: bytes) -> None:
        """See :meth:`Pipe.send`."""
        _ = self._records.write(data)
        self._pass_on()

    def fill(self, view: memoryview, *, is_filled: bool) -> int | None:
        """See :meth:`Pipe.fill`."""
        decrypt, size, done = self._decrypt, len(view), 0
        until_s = time.monotonic() + self._tick_s
        while True:
            try:
                while done < size and (count := decrypt(size - done, view[done:])):
                    done += count
            except self._wants_more:
                self._pass_on()  # new keys are asked for now and then
            except self._is_cut_off:  # gone without a word, as many servers go
                return done
            else:
                return done
            if done and (not is_filled or time.monotonic() > until_s):
                return done
            try:
                self._bring()
            except BlockingIOError:
                return done or None

    def _shake_hands(self, until_s: float) -> None:
        while True:
            try:
                self._records.do_handshake()
            except self._wants_more:
                if time.monotonic() > until_s:  # a drip of bytes is no progress
                    raise TimeoutError from None
            else:
                return
            finally:
                self._pass_on()  # why it is refused, too
            self._bring()

    def _bring(self) -> None:
        """Take what is sealed off the socket; whoever decrypts sees its end."""
        if count := self._sock.recv_into(self._sealed):
            _ = self._came.write(self._sealed[:count])
        else:
            self._came.write_eof()

    def _pass_on(self) -> None:
        if self._goes.pending:
            self._sock.sendall(self._goes.read())


def _tick(sock: _socket.socket, tick_s: float, limit_s: float) -> None:
    """Have the kernel tell silence: a time-out of the library's makes two calls of every one."""
    sock.settimeout(None)
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, _timeval(tick_s))
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, _timeval(limit_s))


def _timeval(limit_s: float) -> bytes:
    """A time limit of a socket's, as the kernel wants it."""
    seconds, rest = divmod(limit_s, 1)
    return struct.pack("@ll", int(seconds), int(rest * 1e6))
