"""The part of S3 that aiobotocore does for us: credentials, listing, small reads.

The only file that touches aiobotocore, and only while a store is open. The credential chain is
botocore's (environment, profile, SSO, web identity, …) with one cut: what a machine is given
by its cloud, an instance's or a container's role, is asked for only when AWS's own endpoint is
going to see it. Elsewhere it would carry the machine's identity to a third party, and a laptop
would probe an address that is not there.

No proxy is used, neither here nor for the bytes, unless the operator has the library read those,
too: what ``HTTPS_PROXY`` says about web pages is seldom meant for a store, and half a way through
a proxy would be worse than none.
"""

import importlib
from collections.abc import Mapping
from typing import Protocol, Self, cast

from .endpoints import Endpoint, Origin, Profile, bucket_url, origin, profile_of
from .signing import Credentials

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 10.0
MOST_ANSWER_BYTES = 64 * 2**20
"""A thousand keys of the longest kind are 4 MiB."""

MOST_CONNECTIONS = 64
"""As many as a fetch may have."""

ATTEMPTS = 2
"""One more for a connection that a store had closed meanwhile; the next fetch does the rest."""

_MACHINE_ROLES = ("iam-role", "container-role")


class Body(Protocol):
    """An object's bytes on their way."""

    async def __aenter__(self) -> Self:
        """Begin to read."""
        ...

    async def __aexit__(self, *_: object) -> None:
        """Give the connection back."""
        ...

    async def read(self, most_bytes: int) -> bytes:
        """What comes next, as far as that goes for now; nothing at the end."""
        ...

    def close(self) -> None:
        """Leave what is left, and the connection with it."""
        ...


class Client(Protocol):
    """The two calls of an S3 client that are made."""

    async def list_objects_v2(self, **asked: object) -> Mapping[str, object]:
        """One page of a listing."""
        ...

    async def get_object(self, **asked: object) -> Mapping[str, object]:
        """One object; ``Body`` has its bytes."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


class _Resolver(Protocol):
    def remove(self, name: str) -> None: ...


class _Frozen(Protocol):
    access_key: str
    secret_key: str
    token: str | None


class _Chain(Protocol):
    async def get_frozen_credentials(self) -> _Frozen: ...


class _Events(Protocol):
    def register(self, event_name: str, handler: object) -> None: ...


class _Meta(Protocol):
    events: _Events


class _HasMeta(Protocol):
    meta: _Meta


class _Opening(Protocol):
    async def __aenter__(self) -> Client: ...


class _Session(Protocol):
    full_config: Mapping[str, object]

    def get_scoped_config(self) -> Mapping[str, object]: ...
    def get_component(self, name: str) -> object: ...
    async def get_credentials(self) -> _Chain | None: ...
    def get_config_variable(self, name: str) -> object: ...
    def create_client(self, service: str, **options: object) -> _Opening: ...


class Session:
    """One look at the shared AWS files and the credential chain.

    Args:
        profile: Name of a profile; ``None``: what the environment says.
        is_proxied: Whether clients go through the proxy that the environment names, if any.

    Raises:
        botocore.exceptions.BotoCoreError: The shared files cannot be read.
    """

    def __init__(self, profile: str | None, *, is_proxied: bool = False) -> None:
        self._is_proxied = is_proxied
        module = importlib.import_module("aiobotocore.session")
        self._session = cast("_Session", module.AioSession(profile=profile))

    @property
    def profile(self) -> Profile:
        """What the chosen profile says about S3."""
        return profile_of(self._session.full_config, self._session.get_scoped_config())

    async def credentials(self, *, is_aws: bool) -> Credentials | None:
        """Ask the chain.

        Args:
            is_aws: Whether AWS's own endpoint is going to see the answer.

        Returns:
            A snapshot; ``None`` if there are no credentials anywhere.
        """
        if not is_aws:
            resolver = cast("_Resolver", self._session.get_component("credential_provider"))
            for method in _MACHINE_ROLES:
                resolver.remove(method)
        chain = await self._session.get_credentials()
        if chain is None:
            return None
        frozen = await chain.get_frozen_credentials()
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token or None)

    def ca_file(self, configured: str | None) -> str | None:
        """Whose authorities to trust: ours, ``AWS_CA_BUNDLE``, the profile's; ``None``: all."""
        found = configured or self._session.get_config_variable("ca_bundle")
        return found if isinstance(found, str) and found else None

    async def client(self, endpoint: Endpoint, *, is_signed: bool, ca_file: str | None) -> Client:
        """Open a client; the caller closes it."""
        from .s3_bounds import BoundedSession  # noqa: PLC0415  # with the library, and not before

        config_type = importlib.import_module("aiobotocore.config").AioConfig
        options: dict[str, object] = {
            "http_session_cls": BoundedSession,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": READ_TIMEOUT_S,
            "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
            "s3": {"addressing_style": endpoint.addressing},
            "proxies": None if self._is_proxied else {},
            "max_pool_connections": MOST_CONNECTIONS,
            "ignore_configured_endpoint_urls": True,
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
        if not is_signed:
            options["signature_version"] = importlib.import_module("botocore").UNSIGNED
        import ssl  # noqa: PLC0415  # whoever does without the library needs no TLS for it

        opening = self._session.create_client(
            "s3",
            region_name=endpoint.region,
            endpoint_url=endpoint.url,
            verify=ca_file or ssl.get_default_verify_paths().cafile or True,
            config=config_type(**options),
        )
        return await opening.__aenter__()


class Way:
    """Where the last request for a bucket really went: a region redirect may move it.

    Attributes:
        origin: The bucket as the client last addressed it.
        region: What the client last signed for.
    """

    def __init__(self, endpoint: Endpoint, bucket: str) -> None:
        self.origin: Origin = origin(bucket_url(endpoint, bucket))
        self.region = endpoint.region

    def follow(self, client: Client) -> None:
        """Learn from every listing that ``client`` sends."""
        events = cast("_HasMeta", client).meta.events
        events.register("before-send.s3.ListObjectsV2", self._learn)

    def _learn(self, request: "_Prepared", **_: object) -> None:
        self.origin = origin(request.url)
        signed = request.headers.get("Authorization", "")
        text = signed.decode() if isinstance(signed, bytes) else signed
        scope = text.partition("Credential=")[2].split("/")
        if len(scope) > 2:  # noqa: PLR2004  # key, day, region, …
            self.region = scope[2]


class _Prepared(Protocol):
    url: str
    headers: Mapping[str, str | bytes]
