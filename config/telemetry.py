"""Traces for a collector: the table ``[telemetry]``."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from .loopback import is_loopback
from .rules import Bound, checks, whole
from .section import Section
from .stores import KeychainName

TRACES_PATH = "/v1/traces"
"""Where a collector takes traces. Source: OTLP specification, "OTLP/HTTP Request"."""


class Telemetry(Section):
    """``[telemetry]``: traces of loads and requests, never of what they say; off by default.

    Attributes:
        traces: Say ``true`` to send them to a collector over OTLP/HTTP; needs the extra ``otel``.
        endpoint: The collector, as ``http(s)://host[:port][/path]``; a missing path becomes
            ``/v1/traces``. Unset: what ``OTEL_EXPORTER_OTLP_*`` say, else ``localhost:4318``.
        service_name: What the traces are filed under; unset: ``OTEL_SERVICE_NAME``, or
            ``poolhand``.
        sample_ratio: The part of the traces that is sent; one that a caller began is sent if
            the caller's is.
        key_header: The header that bears the collector's key.
        key_scheme: What stands before the key in it.
        key_file: A file of mode 0600 that holds the key.
        key_env: Name of an environment variable that holds the key.
        key_credential: Name of a service credential (systemd ``LoadCredential=``).
        key_keychain: Name of a generic password in the macOS keychain.
        ca_file: PEM file of certificate authorities to trust instead of the system's.
        timeout_s: How long the collector may take for a batch; unset: what
            ``OTEL_EXPORTER_OTLP_TIMEOUT`` says, or 10 s.
    """

    traces: bool = False
    endpoint: str | None = None
    service_name: Annotated[str, Bound(min_length=1, max_length=128)] | None = None
    sample_ratio: Annotated[float, Bound(ge=0, le=1)] = 1.0
    key_header: Annotated[str, Bound(pattern=r"^[A-Za-z0-9-]{1,64}$")] = "Authorization"
    key_scheme: Literal["bearer", "basic", "plain"] = "bearer"
    key_file: str | None = None
    key_env: str | None = None
    key_credential: str | None = None
    key_keychain: KeychainName | None = None
    ca_file: str | None = None
    timeout_s: Annotated[float, Bound(gt=0, le=300)] | None = None

    @checks("endpoint")
    @staticmethod
    def _is_a_bare_url(url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        is_plain = url.isascii() and url.isprintable() and " " not in url
        if parts.scheme not in {"http", "https"} or not parts.hostname or not is_plain:
            problem = "must be http(s)://host[:port][/path]"
            raise ValueError(problem)
        if "@" in parts.netloc or parts.query or parts.fragment:
            problem = "must have no user name, no query and no fragment"
            raise ValueError(problem)
        _ = parts.port  # raises ValueError for a port that is no number
        return url

    @whole
    def _guards_its_key(self) -> None:
        named = (self.key_file, self.key_env, self.key_credential, self.key_keychain)
        count = sum(source is not None for source in named)
        if count > 1:
            problem = "name only one of key_file, key_env, key_credential and key_keychain"
            raise ValueError(problem)
        parts = urlsplit(self.endpoint or "")
        if count and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            problem = "endpoint is unencrypted and leaves this machine: a key needs https://"
            raise ValueError(problem)

    @property
    def url(self) -> str | None:
        """Where batches are posted to; ``None`` if the environment says it."""
        if self.endpoint is None:
            return None
        path = urlsplit(self.endpoint).path.strip("/")
        return self.endpoint if path else self.endpoint.rstrip("/") + TRACES_PATH
