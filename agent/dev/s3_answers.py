"""What an S3 server says in words: its errors, and XML as clients expect it.

The shapes are those of the Amazon S3 API reference (2006-03-01). No answer is decided here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from urllib.parse import quote

from ...config.frozen import frozen

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

ERRORS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "AccessDenied": (403, "Access Denied"),
        "AuthorizationHeaderMalformed": (400, "The authorization header is malformed."),
        "AuthorizationQueryParametersError": (400, "The query authorization is malformed."),
        "ExpiredToken": (400, "The provided token has expired."),
        "InternalError": (500, "We encountered an internal error. Please try again."),
        "InvalidAccessKeyId": (403, "The access key ID you provided does not exist."),
        "InvalidArgument": (400, "Invalid Argument"),
        "InvalidRange": (416, "The requested range is not satisfiable"),
        "InvalidRequest": (400, "Invalid Request"),
        "InvalidToken": (400, "The provided token is malformed or otherwise invalid."),
        "InvalidURI": (400, "Couldn't parse the specified URI."),
        "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
        "NoSuchBucket": (404, "The specified bucket does not exist"),
        "NoSuchKey": (404, "The specified key does not exist."),
        "NotImplemented": (501, "This store is for development and does not do that."),
        "PreconditionFailed": (412, "At least one of the preconditions you specified did not hold"),
        "RequestTimeTooSkewed": (403, "The request time differs too much from the current time."),
        "ServiceUnavailable": (503, "Service is unable to handle request."),
        "SignatureDoesNotMatch": (403, "The signature we calculated does not match yours."),
        "SlowDown": (503, "Please reduce your request rate."),
        "TooManyRequests": (429, "Please reduce your request rate."),
        "XAmzContentSHA256Mismatch": (400, "The SHA256 given does not match what was computed."),
    }
)
"""Error code to its usual HTTP status and sentence."""

_CODES_BY_STATUS = {status: code for code, (status, _) in ERRORS.items()} | {
    400: "InvalidRequest",
    403: "AccessDenied",
    404: "NoSuchKey",
    503: "SlowDown",
}


@frozen
class S3Problem:
    """A request that is not granted.

    Attributes:
        code: S3's name for it.
        message: Replaces the usual sentence where it can say more.
        facts: Further elements of the answer, such as ``ActualObjectSize``.
    """

    code: str
    message: str = ""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def status(self) -> int:
        """Its usual HTTP status; 500 for a code that this store never gives by itself."""
        return ERRORS.get(self.code, (500, ""))[0]

    def xml(self, *, resource: str, request_id: str) -> bytes:
        """The body of the answer; ``resource`` is the path that was asked for."""
        message = self.message or ERRORS.get(self.code, (0, self.code))[1]
        facts = {**self.facts, "Resource": resource, "RequestId": request_id}
        inner = _texts({"Code": self.code, "Message": message, **facts})
        return _document(f"<Error>{inner}</Error>")


def usual_code(status: int) -> str:
    """The error code that most often comes with an HTTP status."""
    return _CODES_BY_STATUS.get(status, "InternalError")


@frozen
class ListedObject:
    """One object in a listing; ``etag`` without quotes, ``modified`` as ISO 8601."""

    key: str
    size_bytes: int
    etag: str
    modified: str


@frozen
class Listing:
    """One page of ListObjectsV2.

    Attributes:
        request: What was asked, as elements to repeat: ``Name``, ``Prefix``, ...
        objects: In key order, by code point.
        prefixes: Common prefixes, in order.
        next_token: Empty on the last page.
        is_url_encoded: Whether the client asked for ``encoding-type=url``.
    """

    request: Mapping[str, str]
    objects: Sequence[ListedObject]
    prefixes: Sequence[str]
    next_token: str
    is_url_encoded: bool

    def xml(self) -> bytes:
        """The body of the answer."""
        encodes = ("Prefix", "Delimiter", "StartAfter")
        head = {n: self._name(v) if n in encodes else v for n, v in self.request.items()}
        head["KeyCount"] = str(len(self.objects) + len(self.prefixes))
        head["IsTruncated"] = "true" if self.next_token else "false"
        if self.next_token:
            head["NextContinuationToken"] = self.next_token
        if self.is_url_encoded:
            head["EncodingType"] = "url"
        parts = [_texts(head)]
        for entry in self.objects:
            texts = {
                "Key": self._name(entry.key),
                "LastModified": entry.modified,
                "ETag": f'"{entry.etag}"',
                "Size": str(entry.size_bytes),
                "StorageClass": "STANDARD",
            }
            parts.append(f"<Contents>{_texts(texts)}</Contents>")
        for prefix in self.prefixes:
            inner = _texts({"Prefix": self._name(prefix)})
            parts.append(f"<CommonPrefixes>{inner}</CommonPrefixes>")
        return _document(
            f'<ListBucketResult xmlns="{NAMESPACE}">{"".join(parts)}</ListBucketResult>'
        )

    def _name(self, text: str) -> str:
        return quote(text, safe="/") if self.is_url_encoded else text


def location_xml(region: str) -> bytes:
    """GetBucketLocation; the first region of all is told by silence, as S3 does."""
    text = "" if region == "us-east-1" else _escaped(region)
    return _document(f'<LocationConstraint xmlns="{NAMESPACE}">{text}</LocationConstraint>')


def buckets_xml(names: Sequence[str]) -> bytes:
    """ListBuckets."""
    inner = "".join(f"<Bucket>{_texts({'Name': name})}</Bucket>" for name in names)
    return _document(
        f'<ListAllMyBucketsResult xmlns="{NAMESPACE}"><Buckets>{inner}</Buckets>'
        "</ListAllMyBucketsResult>"
    )


def _document(root: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}'.encode()


def _texts(texts: Mapping[str, str]) -> str:
    return "".join(f"<{name}>{_escaped(text)}</{name}>" for name, text in texts.items())


def _escaped(text: str) -> str:
    """XML text; control characters as references, which is why clients ask for url encoding."""
    marks = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
    return "".join(
        marks.get(letter, letter if letter >= " " else f"&#{ord(letter)};") for letter in text
    )
