"""Which S3 endpoint wins, and why.

The order is fixed: what our own configuration names, then ``AWS_ENDPOINT_URL_S3``, then
``AWS_ENDPOINT_URL``, then the profile of the shared AWS files, then AWS's own endpoint of the
region. The answer says which of them it was, in words that ``doctor`` can print. Nothing here
reads an environment, a file or a clock: all of it comes in.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, cast

from ...config.errors import ConfigInvalid
from ...config.frozen import frozen
from ...config.patterns import pattern
from ...config.urls import quote, split

if TYPE_CHECKING:  # checked settings; the fetching child has plain values of the same names
    from ...config.stores import S3

Source = Literal["config", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "profile", "aws"]

DEFAULT_REGION = "us-east-1"
"""What stores without regions expect in a signature, and where AWS answers for all."""

_AWS_HOST = pattern(
    r"(?:.+\.)?s3(?:-fips)?(?:[.-](?:dualstack\.)?(?P<region>[a-z]{2}(?:-[a-z]+)+-\d))?"
    r"(?:\.vpce)?\.amazonaws\.com(?:\.cn)?"
)
_DNS_SAFE = pattern(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_ADDRESS = pattern(r"[0-9.]+|.*:.*")
_REGION = pattern(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")


@frozen
class Profile:
    """What a profile of the shared AWS files says about S3; ``None``: nothing."""

    endpoint: str | None = None
    region: str | None = None


@frozen
class Endpoint:
    """Where requests for one bucket go.

    Attributes:
        url: Scheme, host, port and perhaps a path, no slash at its end; ``None``: AWS's own.
        source: Which setting won.
        addressing: Whether the bucket stands in the path or in the host name.
        region: For the signature.
        is_aws: Whether AWS itself answers there; only then may a machine's role be asked for.
        why: One sentence for a person.
    """

    url: str | None
    source: Source
    addressing: Literal["path", "virtual"]
    region: str
    is_aws: bool
    why: str


@frozen
class Origin:
    """One bucket as a peer of HTTP requests.

    Attributes:
        host: To connect to; an IPv6 address without brackets.
        authority: The ``Host`` header: no default port, brackets where needed.
        prefix: What comes before ``/key`` in the target, percent-encoded; may be empty.
    """

    host: str
    port: int
    is_tls: bool
    authority: str
    prefix: str


def choose(
    config: "S3", environ: Mapping[str, str], bucket: str, *, profile: Profile | None = None
) -> Endpoint:
    """Decide where requests for ``bucket`` go.

    Args:
        config: Our own settings of S3.
        environ: The process's environment; empty variables count as absent.
        bucket: Decides between the two ways of addressing.
        profile: What the chosen AWS profile says.

    Returns:
        The winner, with a checked URL.

    Raises:
        ConfigInvalid: The winner is no http(s) URL, or cannot be used as it is asked for.

    Source:
        AWS SDKs and Tools Reference Guide, "Service-specific endpoints": precedence and
        ``AWS_IGNORE_CONFIGURED_ENDPOINT_URLS``, which silences all but explicit settings.
    """
    profile = profile or Profile()
    tried: list[tuple[Source, str]] = list(_candidates(config, environ, profile))
    nothing: tuple[Source, str | None] = ("aws", None)
    source, text = next((one for one in tried if one[1]), nothing)
    url = None if text is None else _checked(text, source)
    found = None if url is None else _AWS_HOST.fullmatch(split(url).host)
    is_aws = url is None or found is not None
    region = _region(config, environ, profile, None if found is None else found["region"])
    return Endpoint(
        url=url,
        source=source,
        addressing=_addressing(config, bucket, url=url, is_aws=is_aws, source=source),
        region=region,
        is_aws=is_aws,
        why=_why(source, url, region, tried),
    )


def profile_of(full: Mapping[str, object], scoped: Mapping[str, object]) -> Profile:
    """Read an AWS profile.

    Args:
        full: The parsed shared files: ``services`` maps a section's name to its services.
        scoped: The chosen profile's own table.

    Returns:
        The S3 endpoint of the profile's ``services`` section, else its general one.

    Source:
        AWS SDKs and Tools Reference Guide, "Service-specific endpoints".
    """
    section = _table(_table(full.get("services")).get(str(scoped.get("services", ""))))
    if str(scoped.get("ignore_configured_endpoint_urls", "")).lower() == "true":
        return Profile(region=_text(scoped.get("region")))
    endpoint = _text(_table(section.get("s3")).get("endpoint_url"))
    return Profile(
        endpoint=endpoint or _text(scoped.get("endpoint_url")), region=_text(scoped.get("region"))
    )


def is_region(text: str) -> bool:
    """Whether this could be a region's name, which is all that may come into a host's name."""
    return _REGION.fullmatch(text) is not None


def bucket_url(endpoint: Endpoint, bucket: str) -> str:
    """The URL that stands for ``bucket`` at ``endpoint``, no slash at its end."""
    china = ".cn" if endpoint.region.startswith("cn-") else ""
    url = endpoint.url or f"https://s3.{endpoint.region}.amazonaws.com{china}"
    if endpoint.addressing == "path":
        return f"{url}/{quote(bucket, safe='')}"
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{bucket}.{rest}"


def origin(url: str) -> Origin:
    """Take a bucket's URL apart; a query is left out."""
    parts = split(url)
    is_tls = parts.scheme == "https"
    usual = 443 if is_tls else 80
    host = parts.host
    port = parts.port or usual
    shown = f"[{host}]" if ":" in host else host
    return Origin(
        host=host,
        port=port,
        is_tls=is_tls,
        authority=shown if port == usual else f"{shown}:{port}",
        prefix=parts.path.rstrip("/"),
    )


def _candidates(
    config: "S3", environ: Mapping[str, str], profile: Profile
) -> Iterator[tuple[Source, str]]:
    yield "config", (config.endpoint or "").strip()
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").strip().lower() == "true":
        return
    yield "AWS_ENDPOINT_URL_S3", environ.get("AWS_ENDPOINT_URL_S3", "").strip()
    yield "AWS_ENDPOINT_URL", environ.get("AWS_ENDPOINT_URL", "").strip()
    yield "profile", (profile.endpoint or "").strip()


def _checked(text: str, source: Source) -> str:
    try:
        parts = split(text)
    except ValueError:
        raise _invalid(source, "it is no URL") from None
    if parts.scheme not in {"http", "https"}:
        raise _invalid(source, "it must begin with https:// or http://")
    if "@" in parts.netloc:
        raise _invalid(source, "it must not hold a user name or a password")
    if not parts.host or not re.fullmatch(r"[A-Za-z0-9._:%-]+", parts.host):
        raise _invalid(source, "it names no host")
    if parts.port == 0 or parts.query or parts.fragment or re.search(r"[\s\x00-\x1f]", text):
        raise _invalid(source, "it must be scheme://host[:port][/path] and nothing more")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _invalid(source: Source, problem: str) -> ConfigInvalid:
    # the value itself stays out: a URL may carry a password
    names: Mapping[Source, str] = {
        "config": "stores.s3.endpoint",
        "profile": "endpoint_url of the AWS profile",
    }
    return ConfigInvalid(
        path=names.get(source, source),
        line=None,
        problem=f"cannot use this S3 endpoint: {problem}",
        suggestion="for example http://127.0.0.1:9000",
    )


def _region(config: "S3", environ: Mapping[str, str], profile: Profile, in_host: str | None) -> str:
    named = (
        config.region,
        environ.get("AWS_REGION"),
        environ.get("AWS_DEFAULT_REGION"),
        profile.region,
        in_host,
    )
    region = next((text.strip() for text in named if text and text.strip()), DEFAULT_REGION)
    if not is_region(region):
        raise ConfigInvalid(
            path="stores.s3.region", line=None, problem=f"{region!r} is no name of a region"
        )
    return region


def _addressing(
    config: "S3", bucket: str, *, url: str | None, is_aws: bool, source: Source
) -> Literal["path", "virtual"]:
    if config.addressing == "path" or not _DNS_SAFE.fullmatch(bucket):
        return "path"
    if config.addressing == "virtual":
        if url is not None and _ADDRESS.fullmatch(split(url).host):
            raise _invalid(source, "addressing = 'virtual' needs a host name, not an address")
        return "virtual"
    return "virtual" if is_aws else "path"


def _why(source: Source, url: str | None, region: str, tried: list[tuple[Source, str]]) -> str:
    if url is None:
        return f"no endpoint is configured, so it is AWS's own in {region}"
    names = {"config": "stores.s3.endpoint", "profile": "the AWS profile"}
    beaten = [names.get(name, name) for name, text in tried if text and name != source]
    over = f", which wins over {' and '.join(beaten)}" if beaten else ""
    return f"{url} comes from {names.get(source, source)}{over}"


def _table(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
