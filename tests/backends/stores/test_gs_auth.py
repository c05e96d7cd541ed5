"""Google's key files: which wins, what is signed, when a token is renewed."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from stand_ins import KEY, TOKEN, Shelf, gcs, standing

from poolhand.backends.stores.addresses import Guard, named
from poolhand.backends.stores.errors import (
    StoreDenied,
    StoreUnreachable,
    StoreUnsafe,
    StoreUnsupported,
)
from poolhand.backends.stores.gs_auth import SCOPE, GoogleTokens, key_file, read_key
from poolhand.backends.stores.http_ranges import HttpClient

PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    async with standing(gcs) as shelf:
        yield shelf


@pytest.fixture
def client(shelf: Shelf) -> Iterator[HttpClient]:
    client = HttpClient("s", Guard("s", [named(shelf.url)]))
    yield client
    client.close()


@pytest.fixture
def account(shelf: Shelf) -> dict[str, object]:
    return {
        "type": "service_account",
        "client_email": "node@p.example",
        "private_key_id": "k1",
        "private_key": pem(PRIVATE),
        "token_uri": f"{shelf.url}/token",
    }


async def headers(tokens: GoogleTokens) -> Mapping[str, str]:

    return await asyncio.to_thread(tokens.headers)


def unpacked(part: str) -> dict[str, object]:
    raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    return cast("dict[str, object]", json.loads(raw))


async def test_a_service_account_signs_who_it_is(
    shelf: Shelf, client: HttpClient, account: dict[str, object]
) -> None:
    tokens = GoogleTokens(client, account, clock=lambda: 1_700_000_000.0)
    assert await headers(tokens) == {"authorization": f"Bearer {TOKEN}"}
    form = json.loads(shelf.seen[-1].removeprefix("FORM "))
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    head, claims, signature = form["assertion"][0].split(".")
    assert unpacked(head) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert unpacked(claims) == {
        "iss": "node@p.example",
        "scope": SCOPE,
        "aud": f"{shelf.url}/token",
        "iat": 1_700_000_000,
        "exp": 1_700_003_600,
    }
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    PRIVATE.public_key().verify(
        raw, f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
    )


async def test_a_token_is_kept_until_shortly_before_its_end(
    shelf: Shelf, client: HttpClient
) -> None:
    now_s = [0.0]
    login = {"type": "authorized_user", "refresh_token": KEY, "token_uri": f"{shelf.url}/token"}
    tokens = GoogleTokens(client, login, clock=lambda: now_s[0])
    for at_s, asked in ((0.0, 1), (3299.0, 1), (3300.0, 2), (3301.0, 2)):
        now_s[0] = at_s
        assert await headers(tokens)
        assert len([seen for seen in shelf.seen if seen.startswith("POST")]) == asked
    tokens.forget()
    assert await headers(tokens)
    assert len([seen for seen in shelf.seen if seen.startswith("POST")]) == 3


async def test_keys_that_are_no_good(client: HttpClient, account: dict[str, object]) -> None:
    where = account["token_uri"]
    login = {"type": "authorized_user", "refresh_token": "wr0ng", "token_uri": where}
    with pytest.raises(StoreDenied, match="log in again") as caught:
        await headers(GoogleTokens(client, login))
    assert "wr0ng" not in str(caught.value)
    elliptic = pem(ec.generate_private_key(ec.SECP256R1()))
    for private in ("", "nonsense", elliptic):
        with pytest.raises(StoreDenied, match="no RSA key"):
            await headers(GoogleTokens(client, account | {"private_key": private}))
    with pytest.raises(StoreUnsupported, match="external_account"):
        GoogleTokens(client, {"type": "external_account"})


async def test_a_key_file_cannot_send_us_anywhere(
    client: HttpClient, account: dict[str, object]
) -> None:
    for where in ("http://169.254.169.254/token", "https://10.0.0.1/token", "file:///token"):
        with pytest.raises(StoreUnsafe):
            await headers(GoogleTokens(client, account | {"token_uri": where}))


async def test_the_machine_s_own_account() -> None:
    async def machine(shelf: Shelf, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Metadata-Flavor") != "Google":
            return web.Response(status=403)
        return web.json_response({"access_token": TOKEN, "expires_in": 3599})

    async with standing(machine) as shelf:
        client = HttpClient("s", Guard("s", [named(shelf.url)]))
        host = shelf.url.removeprefix("http://")
        assert await headers(GoogleTokens(client, None, metadata_host=host))
        assert shelf.seen == ["GET /computeMetadata/v1/instance/service-accounts/default/token"]
        client.close()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, "nonsense", StoreDenied),
        (200, "{}", StoreDenied),
        (200, '{"access_token": "", "expires_in": 1}', StoreDenied),
        (500, "", StoreUnreachable),
        (403, "", StoreDenied),
    ],
)
async def test_an_exchange_without_sense(
    account: dict[str, object], status: int, body: str, kind: type[Exception]
) -> None:
    async def say(_: Shelf, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=body, status=status)

    async with standing(say) as shelf:
        client = HttpClient("s", Guard("s", [named(shelf.url)]))
        with pytest.raises(kind):
            await headers(GoogleTokens(client, account | {"token_uri": f"{shelf.url}/t"}))
        client.close()


def test_the_key_file_that_wins(tmp_path: Path) -> None:
    environ = {"CLOUDSDK_CONFIG": str(tmp_path)}
    assert key_file(None, environ) is None
    usual = tmp_path / "application_default_credentials.json"
    usual.write_text("{}")
    assert key_file(None, environ) == usual
    environ["GOOGLE_APPLICATION_CREDENTIALS"] = "/env.json"
    assert key_file(None, environ) == Path("/env.json")
    assert key_file("/mine.json", environ) == Path("/mine.json")


def test_what_is_no_key_file(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    for text in (None, "nonsense", "[]"):
        if text is not None:
            path.write_text(text)
        with pytest.raises(StoreDenied, match="cannot be read"):
            read_key(path, store="s")
    path.write_text('{"type": "x"}')
    assert read_key(path, store="s") == {"type": "x"}
