"""Signs one GET the way S3 wants it, in microseconds and from any thread.

The header form of Signature Version 4 with ``UNSIGNED-PAYLOAD``: a GET has no body to vouch
for. ``Range``, ``If-Match`` and ``Connection`` stay outside the signature, so a reader may add
them. The time is an argument. What is derived from the secret is kept for a day and never shown.

Source:
    Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header".
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ...config.frozen import field, frozen
from ...config.urls import quote

_PAYLOAD = "UNSIGNED-PAYLOAD"
_EMPTY_LINE = ""
_NO_MORE: Mapping[str, str] = MappingProxyType({})


@frozen
class Credentials:
    """A snapshot of what signs; only the public half is ever shown.

    Attributes:
        token: Of temporary credentials; ``None`` for lasting ones.
    """

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@frozen
class _DayKey:
    day: str
    key: bytes = field(repr=False)


class Signer:
    """Signs GETs of one region with one set of credentials.

    Safe to use from many threads: the day's key is replaced as a whole, and two threads that
    derive it at once derive the same.
    """

    def __init__(self, credentials: Credentials, region: str) -> None:
        self._credentials = credentials
        self._region = region
        from hmac import digest  # noqa: PLC0415  # who signs nothing needs none

        self._hmac = digest
        self._day_key: _DayKey | None = None

    def __repr__(self) -> str:
        """The region alone."""
        return f"Signer(region={self._region!r})"

    def headers(
        self,
        *,
        authority: str,
        target: str,
        query: str = "",
        now_s: float,
        more: Mapping[str, str] = _NO_MORE,
    ) -> dict[str, str]:
        """Sign one GET.

        Args:
            authority: The ``Host`` header as it will be sent.
            target: The path, percent-encoded as it will be sent.
            query: Percent-encoded, without ``?``; parameters are sorted here.
            now_s: Seconds since the epoch.
            more: Further ``x-amz-`` headers to send and to sign, names in lower case.

        Returns:
            All headers that were signed, and ``Authorization``.
        """
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
        day = stamp[:8]
        signed = {"host": authority, "x-amz-content-sha256": _PAYLOAD, "x-amz-date": stamp}
        if self._credentials.token is not None:
            signed["x-amz-security-token"] = self._credentials.token
        signed = dict(sorted({**signed, **more}.items()))
        names = ";".join(signed)
        request = "\n".join(
            (
                "GET",
                target or "/",
                _canonical_query(query),
                *[f"{name}:{value}" for name, value in signed.items()],
                _EMPTY_LINE,
                names,
                _PAYLOAD,
            )
        )
        scope = f"{day}/{self._region}/s3/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        signature = self._hmac(self._key(day), text.encode(), "sha256").hex()
        credential = f"{self._credentials.access_key}/{scope}"
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credential}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return signed

    def _key(self, day: str) -> bytes:
        kept = self._day_key
        if kept is not None and kept.day == day:
            return kept.key
        key = f"AWS4{self._credentials.secret_key}".encode()
        for part in (day, self._region, "s3", "aws4_request"):
            key = self._hmac(key, part.encode(), "sha256")
        self._day_key = _DayKey(day, key)
        return key


def encoded_key(key: str) -> str:
    """An object key as it stands in a request's target, slashes kept."""
    return quote(key)


class StoreClock:
    """The time as a store has it: ours, until the store calls that too far off.

    Args:
        clock: Our own; seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ahead_s = 0.0

    def now_s(self) -> float:
        """Seconds since the epoch, to sign by."""
        return self._clock() + self._ahead_s

    def heed(self, date: str) -> None:
        """Go by the store's time from now on.

        Args:
            date: The ``Date`` header of an answer; one that cannot be read changes nothing.
        """
        from ...config.dates import http_date_s  # noqa: PLC0415  # for a wrong clock only

        if (at_s := http_date_s(date)) is not None:
            self._ahead_s = at_s - self._clock()


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = [part.partition("=") for part in query.split("&")]
    return "&".join(f"{name}={value}" for name, _, value in sorted(pairs))
