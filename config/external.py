"""A model that somebody else runs: the table ``[models.external]`` of one ``[[models]]``.

A secret is never a key here: the table names the file, the variable, the service credential or
the keychain entry that holds it. Whatever else would travel beside it is checked as well, so
that no secret gets into a header that is shown.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from .loopback import is_loopback
from .rules import Bound, checks, whole
from .section import Section
from .stores import HostPort, KeychainName

Seconds = Annotated[float, Bound(gt=0)]

Dialect = Literal["openai", "anthropic", "azure"]
Scheme = Literal["bearer", "x-api-key", "api-key"]

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*)")
"""Source: RFC 9110, 5.1 and 5.5; bytes beyond ASCII are left out on purpose."""

_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Source: RFC 9110, 7.6.1."""

_OURS = frozenset({"host", "content-length", "content-type", "content-encoding", "expect"})
"""Written by this node for each request; two of them would be read in two ways."""

_SECRETIVE = re.compile(r"auth|cookie|token|secret|api-?key|credential|^proxy-")


class External(Section):
    """``[models.external]``: a model of an account at a provider, or on another machine.

    Attributes:
        dialect: What is spoken there: ``openai`` (and whatever is compatible with it),
            ``anthropic``, ``azure``.
        base_url: ``https://host[:port][/path]``; unset: the dialect's own, which Azure has
            not. OpenAI's ends in ``/v1``; Azure's is the resource.
        model: What the provider calls the model; unset: the entry's id. Azure: the deployment.
        api_version: Azure only: the dated version of the classic path; unset: the v1 path.
        key_file: A file of mode 0600 that holds the key.
        key_env: Name of an environment variable that holds the key.
        key_credential: Name of a service credential (systemd ``LoadCredential=``).
        key_keychain: Name of a generic password in the macOS keychain.
        scheme: How the key is shown: ``Authorization: Bearer``, ``x-api-key`` or ``api-key``;
            unset: the dialect's own.
        headers: Further headers as ``"Name: value"``; none that bears a secret.
        drop: Fields of requests that this model does not take, such as ``temperature``: they
            are left out.
        length_field: What OpenAI's dialect calls the bound of an answer; ``auto``: the
            newer name at OpenAI and Azure themselves, the older one elsewhere.
        requests_per_day: Most requests a UTC day; unset: as many as come.
        tokens_per_day: Most tokens a UTC day, prompts and answers, as the provider counts
            them; the last answer may go beyond. Unset: as many as come.
        max_running: Requests answered side by side.
        max_output_tokens: Bound of one answer.
        connect_timeout_s: How long connecting may take, TLS included.
        stall_timeout_s: How long the provider may say nothing.
        allow_http_to_loopback: Say ``true`` to reach a server on this machine without TLS.
        trusted_hosts: Hosts, as ``host`` or ``host:port``, that may have a private address.
        ca_file: PEM file of certificate authorities to trust instead of the system's.
    """

    dialect: Dialect
    base_url: str | None = None
    model: Annotated[str, Bound(min_length=1, max_length=256, pattern=r"^[!-~]+$")] | None = None
    api_version: Annotated[str, Bound(pattern=r"^[A-Za-z0-9.-]{1,64}$")] | None = None
    key_file: str | None = None
    key_env: str | None = None
    key_credential: str | None = None
    key_keychain: KeychainName | None = None
    scheme: Scheme | None = None
    headers: tuple[str, ...] = ()
    drop: tuple[Annotated[str, Bound(pattern=r"^[a-z_]+$")], ...] = ()
    length_field: Literal["auto", "max_tokens", "max_completion_tokens"] = "auto"
    requests_per_day: Annotated[int, Bound(ge=1)] | None = None
    tokens_per_day: Annotated[int, Bound(ge=1)] | None = None
    max_running: Annotated[int, Bound(ge=1, le=1024)] = 8
    max_output_tokens: Annotated[int, Bound(ge=1)] = 32768
    connect_timeout_s: Seconds = 10.0
    stall_timeout_s: Seconds = 300.0
    allow_http_to_loopback: bool = False
    trusted_hosts: tuple[HostPort, ...] = ()
    ca_file: str | None = None

    @checks("base_url")
    @staticmethod
    def _is_a_bare_url(url: str | None) -> str | None:
        if url is None:
            return None
        parts = _split(url)
        is_plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
        if parts.scheme not in {"https", "http"} or not parts.hostname or not is_plain:
            problem = "must be https://host[:port][/path]"
            raise ValueError(problem)
        if "@" in parts.netloc or "?" in url or "#" in url or parts.port == 0:
            problem = "must have no user name, no query and no fragment"
            raise ValueError(problem)
        return f"{parts.scheme}{url[len(parts.scheme) :]}".rstrip("/")

    @checks("headers")
    @staticmethod
    def _bear_no_secret(headers: tuple[str, ...]) -> tuple[str, ...]:
        for nth, header in enumerate(headers):
            found = _HEADER.fullmatch(header)
            if found is None:
                problem = f'item {nth + 1} must be "Name: value"'
                raise ValueError(problem)
            if not may_be_static(name := found[1].lower()):
                problem = f"{name!r} may not be set here: it is this node's, or bears a secret"
                raise ValueError(problem)
        return headers

    @whole
    def _hangs_together(self) -> None:
        if problem := next(filter(None, self._problems()), ""):
            raise ValueError(problem)

    def _problems(self) -> Sequence[str]:
        keys = (self.key_file, self.key_env, self.key_credential, self.key_keychain)
        host = _split(self.url).hostname or ""
        is_http = self.url.startswith("http://")
        is_azure = self.dialect == "azure"
        return (
            "name only one of key_file, key_env, key_credential and key_keychain"
            if sum(key is not None for key in keys) > 1
            else "",
            "base_url is missing: every Azure resource has its own" if not self.url else "",
            "base_url must begin with https://; for http:// to this machine itself, "
            "set allow_http_to_loopback = true"
            if is_http and not (self.allow_http_to_loopback and is_loopback(host))
            else "",
            "api_version is Azure's alone" if self.api_version and not is_azure else "",
        )

    @property
    def url(self) -> str:
        """Where the provider is, without a slash at its end; empty if nobody said."""
        return self.base_url or _HOMES.get(self.dialect, "")

    @property
    def shows_key_as(self) -> Scheme:
        """How the key is shown: as the operator said, else as the dialect has it."""
        return self.scheme or _SCHEMES[self.dialect]

    @property
    def static_headers(self) -> tuple[tuple[str, str], ...]:
        """The operator's own headers, names in lower case."""
        split = (header.partition(":") for header in self.headers)
        return tuple((name.lower(), value.strip()) for name, _, value in split)


_HOMES: Mapping[str, str] = MappingProxyType(
    {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
)
"""Source: the official clients' defaults."""

_SCHEMES: Mapping[Dialect, Scheme] = MappingProxyType(
    {"openai": "bearer", "anthropic": "x-api-key", "azure": "api-key"}
)


def may_be_static(name: str) -> bool:
    """Whether an operator may set a header for all requests; ``name`` is in lower case."""
    return not (name in _HOP_BY_HOP or name in _OURS or _SECRETIVE.search(name))


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    _ = parts.port  # raises ValueError for a port that is no number
    return parts
