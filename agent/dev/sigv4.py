"""AWS Signature Version 4 as a server checks it: in headers, and in a presigned URL.

Pure: the request, the credentials and the time come in, a problem or nothing comes out.
Written from the specification and held against botocore's signer by its tests.

Source:
    Amazon S3 API reference, "Authenticating Requests (AWS Signature Version 4)".
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from urllib.parse import quote, unquote, unquote_plus

from ...config.frozen import frozen
from .s3_answers import S3Problem

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_PAYLOAD = hashlib.sha256(b"").hexdigest()

_UNRESERVED = "-_.~"
_SKEW_S = 15 * 60
_MOST_EXPIRES_S = 7 * 24 * 3600
_STAMP = "%Y%m%dT%H%M%SZ"
_SCOPE_PARTS = 5
"""Access key, day, region, service and ``aws4_request``."""


@frozen
class Credentials:
    """The one pair of keys that a store accepts; an empty session token accepts any."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@frozen
class SignedRequest:
    """The parts of a bodiless request that a signature can cover.

    Attributes:
        path: Percent-decoded; begins with a slash.
        query: Percent-decoded names and values, in the order of the URL.
        headers: Lower-case names and values as they came, in order.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Sequence[tuple[str, str]] = field(repr=False)

    def header(self, name: str) -> str | None:
        """The header's values, trimmed, inner blanks made one, joined by commas."""
        values = [" ".join(value.split()) for own, value in self.headers if own == name]
        return ",".join(values) if values else None


def parse_target(target: str) -> tuple[str, list[tuple[str, str]]]:
    """Take a request target apart: the decoded path, and the decoded query in order.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
    """
    path, _, raw = target.partition("?")
    pairs = [part.partition("=") for part in raw.split("&") if part]
    query = [
        (unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict"))
        for name, _, value in pairs
    ]
    return unquote(path, errors="strict"), query


@frozen
class _Claim:
    """What a request says of its own signature."""

    scope: Sequence[str]
    signed_headers: Sequence[str]
    signature: str
    stamp: str
    payload_hash: str
    expires_s: int | None = None

    @property
    def at_s(self) -> float:
        return datetime.strptime(self.stamp, _STAMP).replace(tzinfo=UTC).timestamp()


def verify(request: SignedRequest, credentials: Credentials, *, now_s: float) -> S3Problem | None:
    """Check a request's signature.

    Args:
        request: As it came.
        credentials: What to check it with.
        now_s: Seconds since the epoch.

    Returns:
        ``None`` if it is signed as it has to be.
    """
    query = dict(request.query)
    if "X-Amz-Algorithm" in query:
        claim = _claim_of_query(query)
    elif request.header("authorization") is not None:
        claim = _claim_of_header(request)
    else:
        return S3Problem("AccessDenied")
    if isinstance(claim, S3Problem):
        return claim
    return (
        _problem_of_time(claim, now_s)
        or _problem_of_identity(request, query, claim, credentials)
        or _problem_of_signature(request, claim, credentials.secret_key)
    )


def _claim_of_header(request: SignedRequest) -> _Claim | S3Problem:
    text = request.header("authorization") or ""
    algorithm, _, rest = text.partition(" ")
    fields = dict(re.findall(r"(\w+)=([^,\s]+)", rest))
    if algorithm != ALGORITHM or not {"Credential", "SignedHeaders", "Signature"} <= fields.keys():
        return S3Problem("AuthorizationHeaderMalformed")
    payload_hash = request.header("x-amz-content-sha256")
    if payload_hash is None:
        return S3Problem("InvalidRequest", "Missing required header: x-amz-content-sha256")
    if payload_hash not in {UNSIGNED_PAYLOAD, EMPTY_PAYLOAD}:
        return S3Problem("XAmzContentSHA256Mismatch")
    claim = _Claim(
        scope=fields["Credential"].rsplit("/", _SCOPE_PARTS - 1),
        signed_headers=fields["SignedHeaders"].split(";"),
        signature=fields["Signature"],
        stamp=request.header("x-amz-date") or "",
        payload_hash=payload_hash,
    )
    return claim if _is_well_formed(claim) else S3Problem("AuthorizationHeaderMalformed")


def _claim_of_query(query: Mapping[str, str]) -> _Claim | S3Problem:
    expires = query.get("X-Amz-Expires", "")
    wrong = S3Problem("AuthorizationQueryParametersError")
    if query["X-Amz-Algorithm"] != ALGORITHM or re.fullmatch(r"[0-9]{1,6}", expires) is None:
        return wrong
    claim = _Claim(
        scope=query.get("X-Amz-Credential", "").rsplit("/", _SCOPE_PARTS - 1),
        signed_headers=query.get("X-Amz-SignedHeaders", "").split(";"),
        signature=query.get("X-Amz-Signature", ""),
        stamp=query.get("X-Amz-Date", ""),
        payload_hash=UNSIGNED_PAYLOAD,
        expires_s=int(expires),
    )
    return claim if _is_well_formed(claim) and int(expires) <= _MOST_EXPIRES_S else wrong


def _is_well_formed(claim: _Claim) -> bool:
    if len(claim.scope) != _SCOPE_PARTS:
        return False
    try:
        _ = claim.at_s
    except ValueError:
        return False
    return claim.scope[1] == claim.stamp[:8] and claim.scope[3:] == ["s3", "aws4_request"]


def _problem_of_time(claim: _Claim, now_s: float) -> S3Problem | None:
    if claim.expires_s is None:
        return S3Problem("RequestTimeTooSkewed") if abs(now_s - claim.at_s) > _SKEW_S else None
    if claim.at_s > now_s + _SKEW_S:
        return S3Problem("AccessDenied", "Request is not yet valid")
    if now_s > claim.at_s + claim.expires_s:
        return S3Problem("AccessDenied", "Request has expired")
    return None


def _problem_of_identity(
    request: SignedRequest, query: Mapping[str, str], claim: _Claim, credentials: Credentials
) -> S3Problem | None:
    if not hmac.compare_digest(claim.scope[0].encode(), credentials.access_key.encode()):
        return S3Problem("InvalidAccessKeyId")
    must = {"host"} | {name for name, _ in request.headers if name.startswith("x-amz-")}
    if not must <= set(claim.signed_headers):
        return S3Problem("AccessDenied", "There were headers present which were not signed")
    token = query.get("X-Amz-Security-Token") or request.header("x-amz-security-token") or ""
    expected = credentials.session_token
    if expected and not hmac.compare_digest(token.encode(), expected.encode()):
        return S3Problem("InvalidToken")
    return None


def _problem_of_signature(
    request: SignedRequest, claim: _Claim, secret_key: str
) -> S3Problem | None:
    text = _string_to_sign(request, claim)
    key = f"AWS4{secret_key}".encode()
    for part in claim.scope[1:]:
        key = _hmac(key, part)
    if hmac.compare_digest(_hmac(key, text).hex(), claim.signature.lower()):
        return None
    # with both sides' text in hand, the difference is found by looking
    return S3Problem("SignatureDoesNotMatch", facts={"StringToSign": text})


def _string_to_sign(request: SignedRequest, claim: _Claim) -> str:
    query = sorted(
        (quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED))
        for name, value in request.query
        if name != "X-Amz-Signature"
    )
    canonical = [
        request.method,
        quote(request.path, safe="/" + _UNRESERVED),
        "&".join(f"{name}={value}" for name, value in query),
        *(f"{name}:{request.header(name) or ''}" for name in claim.signed_headers),
        "",
        ";".join(claim.signed_headers),
        claim.payload_hash,
    ]
    digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    return "\n".join([ALGORITHM, claim.stamp, "/".join(claim.scope[1:]), digest])


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
