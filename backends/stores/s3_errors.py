"""What an S3 answer or a failed request means, in our own words.

A store's own message never travels on: it may repeat an access key or the text that was
signed. Only its error code does, and only if it looks like one. Errors are told apart by code,
status and class, never by their text.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol, cast

from ...config.patterns import pattern
from .errors import ModelMissing, StoreDenied, StoreUnreachable, WeightsChanged, WeightsError

MISSING: Mapping[str, str] = MappingProxyType(
    {
        "NoSuchBucket": "the store has no such bucket",
        "NoSuchKey": "the store has no such object",
        "NoSuchVersion": "the store has no such object",
        "InvalidBucketName": "the store takes the bucket's name for invalid",
    }
)
"""Codes that say: nothing is there."""

DENIED: Mapping[str, str] = MappingProxyType(
    {
        "AccessDenied": "the credentials may not read here",
        "AllAccessDisabled": "all access to the bucket is switched off",
        "AccountProblem": "the store has a problem with the account",
        "AuthorizationHeaderMalformed": "the signature names another region than the bucket's",
        "ExpiredToken": "the credentials have expired",
        "ExpiredTokenException": "the credentials have expired",
        "InvalidAccessKeyId": "the store does not know the access key",
        "InvalidToken": "the session token is not valid",
        "InvalidTokenId": "the session token is not valid",
        "NotSignedUp": "the account is not signed up for this store",
        "RequestTimeTooSkewed": "this machine's clock and the store's are too far apart",
        "SignatureDoesNotMatch": "the secret key does not fit the access key",
        "TokenRefreshRequired": "the session token has to be renewed",
    }
)
"""Codes that say: not for you."""

SKEWED = "RequestTimeTooSkewed"
"""Says: your clock is wrong."""

STALE = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "InvalidTokenId",
        "RequestExpired",
        "TokenRefreshRequired",
    }
)
"""Codes that say: fetch the credentials again. The second is STS's own, passed on. MinIO forgets
what it gave out for a while: from then on it knows neither such a key nor its token."""

CHANGED = frozenset({"PreconditionFailed", "InvalidRange"})
"""Codes that say: it is another object by now."""

COMPRESSED = "it sends compressed bytes"
"""Said of a store that compresses what it was asked for as it is."""

_PLAIN = frozenset({"", "identity", "aws-chunked"})
"""The last is what uploads are sent in; some stores keep the word and tell it with plain bytes."""

_CODE = pattern(r"[A-Za-z][A-Za-z0-9.]{0,63}")
_BAD_GATEWAY_FROM = 500


class Compressed(Exception):  # not a failure yet: whoever asked names the store
    """An answer is compressed, although it was asked for as it is."""


def expect_plain(codings: str) -> None:
    """Refuse a compressed answer, for to ask again would change nothing.

    Args:
        codings: Its ``Content-Encoding``; empty if it has none.

    Raises:
        Compressed: One of them is more than a word.
    """
    if not _PLAIN.issuperset(coding.strip() for coding in codings.lower().split(",")):
        raise Compressed


class _Answered(Protocol):
    """What botocore's ClientError carries."""

    response: Mapping[str, Mapping[str, object]]


class Answered(Exception):  # what botocore's ClientError is, without botocore
    """The store answered with an error.

    Attributes:
        response: As a botocore ``ClientError`` carries it.
        date: The store's clock, as its ``Date`` header says it; empty if it does not.
    """

    def __init__(self, code: str, status: int, date: str = "") -> None:
        self.date = date
        self.response: dict[str, dict[str, object]] = {
            "Error": {"Code": code},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        super().__init__(status)


def of_answer(
    code: str,
    status: int,
    *,
    store: str,
    model: str,
    file: str = "",
    is_unsigned: bool = False,
    unsigned_why: str = "",
) -> WeightsError:
    """What an error answer of a store means.

    Args:
        code: The ``Code`` element; empty or a number if the answer had no body.
        status: Of HTTP.
        store: For the message.
        model: For the message.
        file: The object's path, if one was asked for by its version; empty for a listing.
        is_unsigned: Whether the request went out without credentials.
        unsigned_why: Why it did, for a store that then refuses.
    """
    if code in CHANGED or status in {412, 416}:
        return WeightsChanged(model=model, file=file or "the listing")
    if code in MISSING or (code not in DENIED and status == 404):  # noqa: PLR2004  # HTTP
        if file and code != "NoSuchBucket":
            return WeightsChanged(model=model, file=file)
        return ModelMissing(model=model, reason=MISSING.get(code, "the store answers 404"))
    if code in DENIED or status in {401, 403}:
        reason = DENIED.get(code, f"it answers {_shown(code, status)}")
        return StoreDenied(store=store, reason=unsigned_why if is_unsigned else reason)
    if status >= _BAD_GATEWAY_FROM or status == 429 or code == "SlowDown":  # noqa: PLR2004  # HTTP
        reason = f"it is overloaded or broken ({_shown(code, status)})"
        return StoreUnreachable(store=store, reason=reason, is_busy=True)
    return StoreUnreachable(store=store, reason=f"it answers {_shown(code, status)}")


def of_failure(error: Exception, *, store: str) -> StoreDenied | StoreUnreachable:
    """What a request without an answer means: no credentials, no connection, no sense.

    Args:
        error: Of botocore, aiohttp or the operating system.
        store: For the message; names the host.
    """
    from botocore import exceptions as boto  # noqa: PLC0415  # 30 MiB that an idle agent spares

    credentials = (
        boto.NoCredentialsError,
        boto.PartialCredentialsError,
        boto.CredentialRetrievalError,
        boto.ProfileNotFound,
        boto.ConfigParseError,
        boto.ConfigNotFound,
        boto.InvalidConfigError,
        boto.MissingDependencyException,
        boto.SSOError,
        boto.LoginError,
        boto.TokenRetrievalError,
        boto.UnknownCredentialError,
        boto.MetadataRetrievalError,
    )
    if isinstance(error, credentials):
        reason = f"credentials are configured but cannot be had ({type(error).__name__})"
        return StoreDenied(store=store, reason=reason)
    return StoreUnreachable(store=store, reason=_trouble(error, boto.SSLError))


def answer_errors() -> tuple[type[Exception], ...]:
    """What an error answer is raised as; asked when something was raised, not before."""
    from botocore.exceptions import ClientError  # noqa: PLC0415  # 0.3 s that a failure alone pays

    return (Answered, ClientError)


def failures() -> tuple[type[Exception], ...]:
    """What a request without a sensible answer is raised as."""
    from aiohttp import ClientError as HttpError  # noqa: PLC0415  # likewise
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415  # likewise

    # the last two: botocore read a number where there is none, or one word where there are two
    return (Compressed, BotoCoreError, HttpError, OSError, ValueError, AttributeError)


def code_and_status(error: Exception) -> tuple[str, int]:
    """The error code and the HTTP status that a botocore ``ClientError`` carries."""
    response = cast("_Answered", error).response
    code = response.get("Error", {}).get("Code", "")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(code), status if isinstance(status, int) else 0


def _trouble(error: Exception, tls_error: type[Exception]) -> str:
    if isinstance(error, Compressed):
        return COMPRESSED
    # botocore's own text repeats the whole URL, so only its class and errno's words are used
    inner = cast("Mapping[str, object]", getattr(error, "kwargs", {})).get("error", error)
    words = getattr(getattr(inner, "os_error", inner), "strerror", None)
    if isinstance(error, tls_error):
        return "its TLS certificate is not trusted, or the TLS handshake failed"
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "no answer in time"
    if isinstance(words, str) and words:
        return f"no connection: {words}"
    return f"no sensible answer ({type(error).__name__})"


def _shown(code: str, status: int) -> str:
    return f"{status} {code}" if _CODE.fullmatch(code) else str(status)
