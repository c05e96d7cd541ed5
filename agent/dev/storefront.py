"""The S3 server itself: a request in; an answer, or the fault that was asked for, out.

Imported when a store starts, and only then: it needs aiohttp.
"""

import asyncio
import hashlib
import re
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from aiohttp import web
from pydantic import ValidationError

from ...config.frozen import frozen
from .buckets import Buckets, FoundObject, page_of
from .faults import Fault, Faults, Operation, read_faults
from .s3_answers import (
    ListedObject,
    Listing,
    S3Problem,
    buckets_xml,
    location_xml,
    usual_code,
)
from .sigv4 import Credentials, SignedRequest, parse_target, verify
from .storebody import Body, Stats, parse_range

T = TypeVar("T")
_THREADS = 4
_BASE_HOSTS = (".s3.localhost", ".localhost")
_OWN_HOSTS = frozenset({"localhost", "s3.localhost", "127.0.0.1", "[::1]"})
_NOT_SERVED = frozenset({"acl", "attributes", "tagging", "torrent", "uploads", "versions"})


@frozen
class _Ask:
    """One request, taken apart; ``key`` is empty if it is about a bucket."""

    bucket: str
    key: str
    query: Mapping[str, str]
    signed: SignedRequest

    @property
    def operation(self) -> Operation:
        if not self.key:
            return "list"
        return "get" if self.signed.method == "GET" else "head"

    @property
    def fault_key(self) -> str:
        return self.key or self.query.get("prefix", "")


class Storefront:
    """Answers requests about the buckets of one folder.

    Args:
        buckets: What there is.
        faults: What goes wrong; may be changed at any time.
        stats: Where everything is counted.
        region: Told to who asks; any region is accepted in a signature.
        credentials: ``None`` lets everybody read.
    """

    def __init__(
        self,
        buckets: Buckets,
        *,
        faults: Faults,
        stats: Stats,
        region: str,
        credentials: Credentials | None,
    ) -> None:
        self._buckets = buckets
        self._faults = faults
        self._stats = stats
        self._region = region
        self._credentials = credentials
        # its own, so that clients in the same process cannot starve it
        self._threads = ThreadPoolExecutor(_THREADS, "store")

    def close(self) -> None:
        """Let go of the threads that read files."""
        self._threads.shutdown(wait=False)

    def _aside(self, work: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Do in a thread what blocks."""
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; the low-level server calls this for each."""
        if request.raw_path.split("?")[0] in {"/_faults", "/_stats"}:
            return await self._control(request)
        ask = _take_apart(request)
        if isinstance(ask, S3Problem):
            return self._refused(request, ask, operation="none")
        is_replaced = self._faults.is_replaced(ask.key)
        fault = self._faults.strike(ask.operation, ask.fault_key)
        if fault.latency_ms:
            await asyncio.sleep(fault.latency_ms / 1000)
        outcome = self._problem_before(ask, fault)
        if outcome is None:
            outcome = await self._serve(request, ask, fault, is_replaced=is_replaced)
        if isinstance(outcome, S3Problem):
            return self._refused(request, outcome, operation=ask.operation, fault=fault)
        return outcome

    # ── what is asked ─────────────────────────────────────────────────────────────────

    def _problem_before(self, ask: _Ask, fault: Fault) -> S3Problem | None:
        if fault.status is not None:
            return S3Problem(fault.code or usual_code(fault.status))
        if ask.signed.method not in {"GET", "HEAD"}:
            return S3Problem("MethodNotAllowed")
        if self._credentials is None:
            return None
        return verify(ask.signed, self._credentials, now_s=time.time())

    async def _serve(
        self, request: web.BaseRequest, ask: _Ask, fault: Fault, *, is_replaced: bool
    ) -> web.StreamResponse | S3Problem:
        if not ask.bucket:
            return self._xml(buckets_xml(self._buckets.names()), fault)
        bucket = await self._aside(self._buckets.folder, ask.bucket)
        if bucket is None:
            return S3Problem("NoSuchBucket", facts={"BucketName": ask.bucket})
        if _NOT_SERVED & ask.query.keys():
            return S3Problem("NotImplemented")
        if not ask.key:
            return await self._serve_bucket(ask, bucket, fault)
        found = await self._aside(self._buckets.find, bucket, ask.key)
        if found is None:
            return S3Problem("NoSuchKey", facts={"Key": ask.key})
        return await self._serve_object(request, ask, found, fault, is_replaced=is_replaced)

    async def _serve_bucket(
        self, ask: _Ask, bucket: Path, fault: Fault
    ) -> web.StreamResponse | S3Problem:
        if ask.signed.method == "HEAD" or "location" in ask.query:
            return self._xml(location_xml(self._region), fault)
        if ask.query.get("list-type") != "2":
            return S3Problem("NotImplemented", "Only ListObjectsV2 lists: list-type=2")
        listing = await self._aside(self._listing, ask, bucket)
        if isinstance(listing, S3Problem):
            return listing
        return self._xml(listing.xml(), fault)

    def _listing(self, ask: _Ask, bucket: Path) -> Listing | S3Problem:
        """One page; blocks while files seen for the first time are read for their ETags."""
        query = ask.query
        page = page_of(self._buckets.keys(bucket), query)
        if isinstance(page, S3Problem):
            return page
        found = {key: self._buckets.find(bucket, key) for key in page.keys}
        repeated = {
            "Name": ask.bucket,
            "Prefix": query.get("prefix", ""),
            "MaxKeys": query.get("max-keys", "1000"),
        }
        names = {
            "Delimiter": "delimiter",
            "StartAfter": "start-after",
            "ContinuationToken": "continuation-token",
        }
        return Listing(
            request=repeated | {to: query[name] for to, name in names.items() if name in query},
            objects=[
                ListedObject(key, one.size_bytes, self._etag(key, one), _iso(one.modified_s))
                for key, one in found.items()
                if one is not None
            ],
            prefixes=page.prefixes,
            next_token=page.next_token,
            is_url_encoded=query.get("encoding-type") == "url",
        )

    def _etag(self, key: str, found: FoundObject) -> str:
        return _etag(found, is_replaced=self._faults.is_replaced(key))

    async def _serve_object(
        self,
        request: web.BaseRequest,
        ask: _Ask,
        found: FoundObject,
        fault: Fault,
        *,
        is_replaced: bool,
    ) -> web.StreamResponse | S3Problem:
        etag = _etag(found, is_replaced=is_replaced)
        asked = None if fault.ignore_range else request.headers.get("Range")
        part = _part_or_problem(request, found, etag=etag, asked=asked)
        if isinstance(part, S3Problem):
            return part
        response = _object_headers(found, part, fault)
        response.headers.update(_common_headers() | {"ETag": f'"{etag}"'})
        if fault.close_connection:
            response.force_close()
        self._stats.count_request(ask.operation, response.status)
        await response.prepare(request)
        if ask.operation == "get" and part.status != HTTPStatus.NOT_MODIFIED:
            name = f"{ask.bucket}/{ask.key}"
            self._stats.count_range(name, request.headers.get("Range"), response.status)
            await self._send(
                request, response, Body(found.path, part.span, fault, is_replaced), name
            )
        return response

    async def _send(
        self, request: web.BaseRequest, response: web.StreamResponse, body: Body, name: str
    ) -> None:
        if request.transport is None:
            return
        try:
            await body.send(
                request.transport,
                response,
                lambda sent: self._stats.count_bytes(name, sent),
                threads=self._threads,
            )
        except ConnectionError:
            response.force_close()  # the client has what it wanted; nobody is left to tell

    # ── answers without an object ─────────────────────────────────────────────────────

    def _xml(self, body: bytes, fault: Fault) -> web.Response:
        self._stats.count_request("list", HTTPStatus.OK)
        response = web.Response(body=body, headers=_common_headers())
        response.headers["x-amz-bucket-region"] = self._region
        response.content_type = "application/xml"
        if fault.close_connection:
            response.force_close()
        return response

    def _refused(
        self,
        request: web.BaseRequest,
        problem: S3Problem,
        *,
        operation: str,
        fault: Fault | None = None,
    ) -> web.Response:
        headers = _common_headers()
        body = problem.xml(
            resource=request.raw_path.split("?")[0], request_id=headers["x-amz-request-id"]
        )
        status = fault.status if fault is not None and fault.status else problem.status
        response = web.Response(status=status, body=body, headers=headers)
        response.content_type = "application/xml"
        if problem.code == "InvalidRange":
            response.headers["Content-Range"] = f"bytes */{problem.facts['ActualObjectSize']}"
        if fault is not None and fault.retry_after_s is not None:
            response.headers["Retry-After"] = str(fault.retry_after_s)
        if fault is not None and fault.close_connection:
            response.force_close()
        self._stats.count_request(operation, status)
        return response

    async def _control(self, request: web.BaseRequest) -> web.Response:
        """The store's own doors: ``/_faults`` and ``/_stats``."""
        # a web page that a browser shows on this machine must not turn these knobs
        if _host(request) not in _OWN_HOSTS or "Origin" in request.headers:
            return self._refused(request, S3Problem("AccessDenied"), operation="none")
        if request.raw_path == "/_stats":
            return web.json_response(self._stats.document())
        if request.method == "POST":
            try:
                self._faults.put(read_faults(await request.read()))
            except ValidationError as error:
                return web.json_response({"error": str(error)}, status=HTTPStatus.BAD_REQUEST)
        faults = [fault.model_dump(exclude_unset=True) for fault in self._faults.in_force]
        return web.json_response(faults)


def _take_apart(request: web.BaseRequest) -> _Ask | S3Problem:
    try:
        path, query = parse_target(request.raw_path)
        path.encode()
    except UnicodeError:
        return S3Problem("InvalidURI")
    if not path.startswith("/"):
        return S3Problem("InvalidURI")
    headers = [(name.lower(), value) for name, value in request.headers.items()]
    signed = SignedRequest(request.method, path, query, headers)
    host = _host(request)
    base = next((base for base in _BASE_HOSTS if host.endswith(base)), None)
    if base is None or host in _OWN_HOSTS:
        bucket, _, key = path[1:].partition("/")
    else:
        bucket, key = host.removesuffix(base), path[1:]
    return _Ask(bucket, key, dict(query), signed)


def _host(request: web.BaseRequest) -> str:
    """The host that was asked for, without its port."""
    host = request.headers.get("Host", "").lower()
    return re.sub(r":[0-9]+\Z", "", host)


@frozen
class _Part:
    """What a granted request gets: 200, 206 or 304, and which bytes."""

    status: HTTPStatus
    span: range


def _part_or_problem(
    request: web.BaseRequest, found: FoundObject, *, etag: str, asked: str | None
) -> _Part | S3Problem:
    wanted = request.headers.get("If-Match")
    if wanted is not None and not _names(wanted, etag):
        return S3Problem("PreconditionFailed", facts={"Condition": "If-Match"})
    known = request.headers.get("If-None-Match")
    if known is not None and _names(known, etag):
        return _Part(HTTPStatus.NOT_MODIFIED, range(0))
    span = parse_range(asked, found.size_bytes)
    if span is None:
        return _Part(HTTPStatus.OK, range(found.size_bytes))
    return span if isinstance(span, S3Problem) else _Part(HTTPStatus.PARTIAL_CONTENT, span)


def _names(condition: str, etag: str) -> bool:
    """Whether an ``If-Match`` or ``If-None-Match`` list names the ETag."""
    named = {one.strip().removeprefix("W/").strip('"') for one in condition.split(",")}
    return bool({"*", etag} & named)


def _object_headers(found: FoundObject, part: _Part, fault: Fault) -> web.StreamResponse:
    response = web.StreamResponse(status=part.status)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Last-Modified"] = formatdate(found.modified_s, usegmt=True)
    if part.status == HTTPStatus.NOT_MODIFIED:
        return response
    response.content_type = "binary/octet-stream"
    response.content_length = len(part.span)
    if part.status == HTTPStatus.PARTIAL_CONTENT:
        shift = 1 if fault.wrong_content_range else 0
        first, last = part.span.start + shift, part.span.stop - 1 + shift
        response.headers["Content-Range"] = f"bytes {first}-{last}/{found.size_bytes}"
    return response


def _etag(found: FoundObject, *, is_replaced: bool) -> str:
    if not is_replaced:
        return found.etag
    return hashlib.md5(f"{found.etag} replaced".encode(), usedforsecurity=False).hexdigest()


def _common_headers() -> dict[str, str]:
    request_id = uuid.uuid4().hex.upper()
    return {
        "x-amz-request-id": request_id[:16],
        "x-amz-id-2": request_id[16:],
        "Server": "poolhand-dev-store",
    }


def _iso(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
