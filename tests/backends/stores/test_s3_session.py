"""As whom S3 is asked: keys, profiles, roles, regions and authorities."""

import asyncio
import http.client
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from poolhand.agent.dev.objectstore import ObjectStore, StoreOptions, serve
from poolhand.backends.stores.base import HttpLocation, RemoteFile
from poolhand.backends.stores.endpoints import choose
from poolhand.backends.stores.errors import (
    StoreDenied,
    StoreUnreachable,
)
from poolhand.backends.stores.s3 import S3Store
from poolhand.backends.stores.s3_session import Client, Way
from poolhand.config.refs import ModelRef
from poolhand.config.settings import S3

ACCESS, SECRET = "AKIDTEST", "s3cr3t/+key"
PASSING = "tok/en+="
REF = ModelRef.parse("s3://models/tiny")
CONFIG = b'{"a": 1}'
ENTRY = b"<Contents><Key>tiny/config.json</Key><Size>%s</Size><ETag>&quot;e&quot;</ETag></Contents>"
LISTING = b"<ListBucketResult>" + ENTRY % b"8" + b"</ListBucketResult>"

Answer = Callable[[str], bytes]
Listening = Callable[[Answer, ssl.SSLContext | None], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def opened(config: S3, ref: ModelRef = REF) -> AsyncGenerator[S3Store]:
    store = S3Store(ref, config, os.environ)
    try:
        yield store
    finally:
        await store.close()


async def listed(config: S3) -> S3Store:
    """A store that has listed the one file of the build, and is closed again."""
    async with opened(config) as store:
        (file,) = await store.files()
        assert file.path == "config.json"
        assert await store.read(file) == CONFIG
        return store


def file_named(path: str) -> RemoteFile:
    return RemoteFile(path, len(CONFIG), None, f"tiny/{path}")


def fetch(location: HttpLocation, *, host: str = "") -> tuple[int, bytes]:
    """Read a location with the standard library alone; connect to ``host`` if it is given."""
    line = http.client.HTTPConnection(host or location.host, location.port, timeout=10)
    if location.is_tls:
        context = ssl.create_default_context(cafile=location.ca_file)
        line = http.client.HTTPSConnection(location.host, location.port, context=context)
    line.putrequest("GET", location.target, skip_host=True, skip_accept_encoding=True)
    for name, value in location.headers.items():
        line.putheader(name, value)
    line.endheaders()
    answer = line.getresponse()
    content = answer.read()
    line.close()
    return answer.status, content


def reply(status: str, body: bytes, headers: str = "") -> bytes:
    lines = f'HTTP/1.1 {status}\r\n{headers}ETag: "e"\r\nContent-Length: {len(body)}\r\n'
    return f"{lines}Connection: close\r\n\r\n".encode() + body


def body_for(head: str) -> bytes:
    return LISTING if "list-type" in head.split("\r\n", 1)[0] else CONFIG


@pytest.mark.usefixtures("keys")
async def test_a_bucket_in_another_region_is_followed(listening: Listening) -> None:
    regions: list[str] = []

    def answer(head: str) -> bytes:
        regions.append(head.partition("Credential=")[2].split("/")[2])
        if regions[-1] != "eu-west-1":
            body = b"<Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region>"
            return reply(
                "400 Bad Request", b"<Error>%s</Error>" % body, "x-amz-bucket-region: eu-west-1\r\n"
            )
        return reply("200 OK", LISTING)

    async with listening(answer, None) as url, opened(S3(endpoint=url)) as store:
        (file,) = await store.files()
        scope = store.location(file).headers["authorization"].partition("Credential=")[2]
    assert (regions[0], regions[-1]) == ("us-east-1", "eu-west-1")
    assert len(regions) <= 3, "once by ourselves, then as the library follows"
    assert scope.split("/")[2] == "eu-west-1"


@dataclass
class Sent:
    """A request as the library tells of it."""

    url: str
    headers: Mapping[str, str | bytes]


class FakeClient:
    """The part of a client that tells what it sends."""

    def __init__(self) -> None:
        self.meta = self
        self.events = self
        self.handlers: dict[str, Callable[..., None]] = {}

    def register(self, event_name: str, handler: Callable[..., None]) -> None:
        self.handlers[event_name] = handler


@pytest.mark.parametrize("kind", [str.encode, str], ids=["bytes", "text"])
def test_the_way_follows_a_listing_to_another_host(kind: Callable[[str], str | bytes]) -> None:
    way, client = Way(choose(S3(), {}, "models"), "models"), FakeClient()
    assert way.origin.host == "models.s3.us-east-1.amazonaws.com"
    way.follow(cast("Client", client))
    (tell,) = client.handlers.values()
    signed = kind("AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/s3/aws4_request, …")
    tell(Sent("https://models.s3.eu-west-1.amazonaws.com/?list-type=2", {"Authorization": signed}))
    assert (way.origin.host, way.origin.prefix) == ("models.s3.eu-west-1.amazonaws.com", "")
    assert way.region == "eu-west-1"
    tell(Sent("https://models.s3.eu-west-1.amazonaws.com/", {}))
    assert way.region == "eu-west-1", "an unsigned request says nothing about the region"


@pytest.mark.usefixtures("keys")
async def test_a_wrong_secret_is_denied_and_never_repeated(
    signed: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    with pytest.raises(StoreDenied, match="secret key does not fit") as caught:
        await listed(S3(endpoint=signed.url))
    error = caught.value
    assert "hunter2" not in f"{error!r}{error.remedy}{error.__cause__!r}"
    assert error.__suppress_context__, "the store's own words stay out of tracebacks"


async def test_without_credentials_a_public_store_is_read_and_it_is_noted(
    public: ObjectStore,
) -> None:
    store = await listed(S3(endpoint=public.url))
    assert store.notes[1:] == ("no credentials were found anywhere: reading unsigned",)
    location = store.location(file_named("config.json"))
    assert "authorization" not in location.headers
    assert await asyncio.to_thread(fetch, location) == (200, CONFIG)


async def test_without_credentials_a_private_store_says_what_is_missing(
    signed: ObjectStore,
) -> None:
    with pytest.raises(StoreDenied, match="no credentials were found"):
        await listed(S3(endpoint=signed.url))


@pytest.mark.usefixtures("keys")
async def test_unsigned_by_choice_uses_no_credentials(
    signed: ObjectStore, public: ObjectStore
) -> None:
    store = await listed(S3(endpoint=public.url, unsigned=True))
    assert len(store.notes) == 1
    with pytest.raises(StoreDenied, match=r"stores\.s3\.unsigned"):
        await listed(S3(endpoint=signed.url, unsigned=True))


async def test_a_profile_brings_its_own_keys(signed: ObjectStore, tmp_path: Path) -> None:
    text = f"[mine]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n"
    (tmp_path / "aws_shared_credentials_file").write_text(text)
    await listed(S3(endpoint=signed.url, profile="mine"))
    with pytest.raises(StoreDenied, match="ProfileNotFound"):
        await listed(S3(endpoint=signed.url, profile="other"))


async def test_a_refresh_reads_new_keys(signed: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "aws_shared_credentials_file"
    file.write_text("[default]\naws_access_key_id = OLD\naws_secret_access_key = old\n")
    async with opened(S3(endpoint=signed.url)) as store:
        with pytest.raises(StoreDenied, match="does not know the access key"):
            await store.files()
        file.write_text(
            f"[default]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n"
        )
        await store.refresh()
        assert len(await store.files()) == 1


@pytest.mark.usefixtures("keys")
async def test_a_session_token_is_sent_and_signed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = StoreOptions(root, access_key=ACCESS, secret_key=SECRET, session_token=PASSING)
    async with await serve(options) as server:
        monkeypatch.setenv("AWS_SESSION_TOKEN", PASSING)
        store = await listed(S3(endpoint=server.url))
        location = store.location(file_named("config.json"))
        assert await asyncio.to_thread(fetch, location) == (200, CONFIG)
        assert PASSING not in repr(location)
        monkeypatch.setenv("AWS_SESSION_TOKEN", "another")
        with pytest.raises(StoreDenied, match=r"session token|expired"):
            await listed(S3(endpoint=server.url))


async def test_a_machines_role_is_never_asked_for_a_third_party(
    listening: Listening, public: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(head: str) -> bytes:
        asked.append(head)
        return reply("404 Not Found", b"")

    async with listening(answer, None) as url:
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/role")
        await listed(S3(endpoint=public.url))
        assert asked == []
        # the other way round: this test can fail, for AWS's own endpoint the role is asked for
        monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        async with opened(S3()) as store:
            await store.refresh()
        assert asked


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its authority with openssl")
async def test_a_private_authority_is_trusted_when_named(
    listening: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "ca.pem"
    await asyncio.to_thread(make_certificate, certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, tmp_path / "key.pem")
    async with listening(lambda head: reply("200 OK", body_for(head)), context) as url:
        with pytest.raises(StoreUnreachable, match="TLS certificate is not trusted"):
            await listed(S3(endpoint=url))
        store = await listed(S3(endpoint=url, ca_file=str(certificate)))
        location = store.location(file_named("config.json"))
        assert await asyncio.to_thread(fetch, location) == (200, CONFIG)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        assert (await listed(S3(endpoint=url))).location(file_named("x")).ca_file == str(
            certificate
        )


def make_certificate(path: Path) -> None:
    subprocess.run(  # noqa: S603  # our own words
        [  # the openssl of this machine
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=localhost", "-out", str(path)),
            *("-keyout", str(path.with_name("key.pem"))),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
