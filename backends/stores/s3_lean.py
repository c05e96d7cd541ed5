"""Listing and small reads over S3 without its library, where nothing of it is needed.

Importing aiobotocore and describing S3 to it takes longer than fetching a gigabyte. Where the
endpoint is named and not AWS's own, and the keys stand in the environment or nowhere, there is
no chain to ask, no region to find and no file to read: two plain GETs do. Every other case
takes :class:`~.s3_session.Session`, which this has the face of.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from pyexpat import ExpatError, ParserCreate
from typing import TYPE_CHECKING, Self

from ...config.urls import quote, unquote_plus
from .endpoints import Endpoint, Origin, Profile, bucket_url, origin
from .exchange import Exchange, Garbled
from .loops import beside
from .s3_errors import SKEWED, Answered, code_and_status, expect_plain
from .s3_session import CONNECT_TIMEOUT_S, MOST_ANSWER_BYTES, READ_TIMEOUT_S
from .signing import Credentials, Signer, StoreClock, encoded_key

if TYPE_CHECKING:  # the fetching child has plain values of the same names, and seldom TLS
    import ssl

    from ...config.stores import S3

_TRIES = 3
_FIRST_WAIT_S = 0.1
_STALLS = 6
_TRANSIENT_FROM = 500
_TOO_MANY = 429
_GIVEN = frozenset({200, 206})
_FILES_OF_THE_CHAIN = (
    ("AWS_CONFIG_FILE", ".aws/config"),
    ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
    ("BOTO_CONFIG", ".boto"),
    ("BOTO_CONFIG", "/etc/boto.cfg"),
)
"""Source: botocore's credentials.py; whoever has one of them has the whole chain asked."""

_ACCESS, _SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
_OTHER_CHAINS = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE")


def suffices(config: "S3", environ: Mapping[str, str], endpoint: Endpoint) -> bool:
    """Whether this is all that is needed to reach ``endpoint``."""
    if endpoint.is_aws or config.profile or any(environ.get(name) for name in _OTHER_CHAINS):
        return False
    if not config.unsigned and bool(environ.get(_ACCESS)) != bool(environ.get(_SECRET)):
        return False  # half a pair: the library knows what to say of it
    home = Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111  # what botocore does
    return not any(
        Path(environ.get(name) or home / usual).expanduser().exists()
        for name, usual in _FILES_OF_THE_CHAIN
    )


def is_elsewhere(error: Answered) -> bool:
    """Whether an answer says that the bucket is to be asked for in another region."""
    code, status = code_and_status(error)
    return code == "AuthorizationHeaderMalformed" or status in {301, 302, 307, 308}


class LeanSession:
    """What :class:`~.s3_session.Session` does, out of the environment alone.

    Args:
        environ: The process's own environment.
        clock: By what requests are signed.
        patience_s: For one answer, its last byte included.
    """

    def __init__(self, environ: Mapping[str, str], clock: StoreClock, *, patience_s: float) -> None:
        self._environ = environ
        self._clock = clock
        self._patience_s = patience_s
        self.profile = Profile()

    async def credentials(self, *, is_aws: bool) -> Credentials | None:
        """The keys of the environment; ``is_aws`` makes no difference to them."""
        _ = is_aws
        return _keys(self._environ)

    def ca_file(self, configured: str | None) -> str | None:
        """Whose authorities to trust: ours, ``AWS_CA_BUNDLE``; ``None``: all."""
        return configured or self._environ.get("AWS_CA_BUNDLE") or None

    async def client(
        self, endpoint: Endpoint, *, is_signed: bool, ca_file: str | None
    ) -> "LeanClient":
        """Open a client; the caller closes it."""
        keys = _keys(self._environ) if is_signed else None
        signer = None if keys is None else Signer(keys, endpoint.region)
        return LeanClient(endpoint, signer, ca_file, self._clock, patience_s=self._patience_s)


class LeanClient:
    """The two calls that are made, as botocore would answer them; no state between calls."""

    def __init__(
        self,
        endpoint: Endpoint,
        signer: Signer | None,
        ca_file: str | None,
        clock: StoreClock,
        *,
        patience_s: float,
    ) -> None:
        self._patience_s = patience_s
        self._lines: set[Exchange] = set()
        self._endpoint = endpoint
        self._signer = signer
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None
        self._clock = clock

    async def list_objects_v2(self, **asked: object) -> Mapping[str, object]:
        """One page of a listing."""
        query = {"encoding-type": "url", "list-type": "2", "prefix": str(asked["Prefix"])}
        if token := asked.get("ContinuationToken"):
            query["continuation-token"] = str(token)
        _, body = await beside(self._get, str(asked["Bucket"]), "", query, _paid(asked))
        return await beside(_listing, body)

    async def get_object(self, **asked: object) -> Mapping[str, object]:
        """One object; ``Body`` has its bytes."""
        more = {"Range": str(asked["Range"]), **_paid(asked)}
        if tag := asked.get("IfMatch"):
            more["If-Match"] = str(tag)
        head, body = await beside(self._get, str(asked["Bucket"]), str(asked["Key"]), {}, more)
        told = {"ETag": head.get("etag"), "ContentRange": head.get("content-range")}
        return {"Body": _Held(body), **told}

    async def close(self) -> None:
        """End what is still being asked, in whatever thread."""
        for line in tuple(self._lines):
            line.interrupt()

    def _get(
        self, bucket: str, key: str, query: Mapping[str, str], more: Mapping[str, str]
    ) -> tuple[Mapping[str, str], bytes]:
        wait_s, until_s = _FIRST_WAIT_S, time.monotonic() + self._patience_s
        is_second = was_skewed = False
        for left in reversed(range(_TRIES)):
            try:
                return self._once(bucket, key, query, more)
            except Answered as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                is_passing = isinstance(status, int) and (
                    status >= _TRANSIENT_FROM or status == _TOO_MANY
                )
                is_skewed = code_and_status(error)[0] == SKEWED and not was_skewed
                if not left or not (is_passing or is_skewed):
                    raise
                if is_skewed:  # by the store's clock from now on
                    self._clock.heed(error.date)
                    was_skewed = True
            except (ConnectionError, Garbled) as error:
                if not left and isinstance(error, Garbled):
                    raise ValueError(type(error).__name__) from None
                if not left:
                    raise
            except TimeoutError:  # one line may be silent where another is not
                if is_second or time.monotonic() >= until_s:
                    raise
                is_second = True
            time.sleep(wait_s)
            wait_s *= 4
        raise AssertionError  # the last try returns or raises

    def _once(
        self, bucket: str, key: str, query: Mapping[str, str], more: Mapping[str, str]
    ) -> tuple[Mapping[str, str], bytes]:
        place = origin(bucket_url(self._endpoint, bucket))
        target = f"{place.prefix}/{encoded_key(key)}" if key else place.prefix or "/"
        asked = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in query.items())
        headers = {"host": place.authority}
        if self._signer is not None:
            paid = {name: value for name, value in more.items() if name.startswith("x-amz-")}
            headers = self._signer.headers(
                authority=place.authority,
                target=target,
                query=asked,
                now_s=self._clock.now_s(),
                more=paid,
            )
        headers.update(more)
        headers["accept-encoding"] = "identity"
        line = self._line(place)
        self._lines.add(line)
        try:
            head = line.ask(f"{target}?{asked}" if asked else target, headers)
            if head.status in _GIVEN:
                expect_plain(head.fields.get("content-encoding", ""))
            body = line.body(MOST_ANSWER_BYTES + 1, within_s=self._patience_s)
        finally:
            self._lines.discard(line)
            line.close()
        return head.fields, _body(head.status, body, date=head.fields.get("date", ""))

    def _line(self, place: Origin) -> Exchange:
        stall_s = min(READ_TIMEOUT_S, self._patience_s / _STALLS)
        wait = {"connect_timeout_s": CONNECT_TIMEOUT_S, "stall_timeout_s": stall_s}
        if not place.is_tls:
            return Exchange(place.host, place.port, None, **wait)
        import ssl  # noqa: PLC0415  # plain HTTP does without

        self._context = self._context or ssl.create_default_context(cafile=self._ca_file)
        try:
            return Exchange(place.host, place.port, self._context, **wait)
        except ssl.SSLError as error:
            from botocore.exceptions import SSLError  # noqa: PLC0415  # only a failure pays for it

            raise SSLError(endpoint_url="", error="TLS") from error


class _Held:
    """Bytes that are here already, as a body on its way."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aenter__(self) -> Self:
        """Begin to read."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    async def read(self, most_bytes: int) -> bytes:
        """What comes next."""
        piece, self._body = self._body[:most_bytes], self._body[most_bytes:]
        return piece

    def close(self) -> None:
        """Nothing is open."""


def _keys(environ: Mapping[str, str]) -> Credentials | None:
    access, secret = environ.get(_ACCESS), environ.get(_SECRET)
    if not access or not secret:
        return None
    return Credentials(access, secret, environ.get("AWS_SESSION_TOKEN") or None)


def _paid(asked: Mapping[str, object]) -> dict[str, str]:
    payer = asked.get("RequestPayer")
    return {"x-amz-request-payer": str(payer)} if payer else {}


def _body(status: int, body: bytes, *, date: str) -> bytes:
    if len(body) > MOST_ANSWER_BYTES:
        raise ValueError(len(body))
    if status not in _GIVEN:
        try:
            code = _Document(body).said.get("Code", "")
        except ValueError:
            code = ""
        raise Answered(code, status, date)
    return body


class _Document:
    """What an answer says: its root's name, its texts, and its ``Contents``, texts by name.

    Nothing else is kept, and a library's tree takes longer to import than to build.

    Raises:
        ValueError: It is no XML, or one that declares entities, which no store needs.
    """

    def __init__(self, body: bytes) -> None:
        self.root = ""
        self.said: dict[str, str] = {}
        self.contents: list[dict[str, str]] = []
        self._text: list[str] = []
        # of each element that is open: where its children's texts go, if anybody wants them
        self._tables: list[dict[str, str] | None] = []
        parser = ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        try:
            _ = parser.Parse(body, True)  # noqa: FBT003  # the library's: this is all of it
        except ExpatError as error:
            raise ValueError(error.code) from None

    @staticmethod
    def _refuse(name: str, *_: object) -> None:
        raise ValueError(name[:64])

    def _start(self, name: str, _attributes: object) -> None:
        table: dict[str, str] | None = None
        if not self._tables:
            self.root, table = _bare(name), self.said
        elif len(self._tables) == 1 and _bare(name) == "Contents":
            table = {}
            self.contents.append(table)
        self._tables.append(table)
        self._text.clear()

    def _end(self, name: str) -> None:
        tables = self._tables
        _ = tables.pop()
        if tables and (table := tables[-1]) is not None:
            _ = table.setdefault(_bare(name), "".join(self._text))
        self._text.clear()


def _bare(name: str) -> str:
    """A name without its prefix, which hardly any has."""
    return name.rpartition(":")[2] if ":" in name else name


def _listing(body: bytes) -> Mapping[str, object]:
    found = _Document(body)
    if found.root != "ListBucketResult":
        raise ValueError(found.root[:64])
    is_encoded = found.said.get("EncodingType") == "url"
    contents: list[dict[str, object]] = []
    for entry in found.contents:
        key, size = entry.get("Key"), entry.get("Size")
        if key is not None and is_encoded:
            key = unquote_plus(key)
        bytes_told = None if size is None else int(size)
        contents.append({"Key": key, "ETag": entry.get("ETag"), "Size": bytes_told})
    return {
        "Contents": contents,
        "IsTruncated": found.said.get("IsTruncated") == "true",
        "NextContinuationToken": found.said.get("NextContinuationToken"),
    }
