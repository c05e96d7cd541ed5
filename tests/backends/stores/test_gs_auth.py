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
from stand_ins import KEY, SUBJECT, TOKEN, Shelf, gcs, standing

from poolhand.backends.stores.addresses import Guard, named
from poolhand.backends.stores.errors import (
    StoreDenied,
    StoreUnreachable,
    StoreUnsafe,
    StoreUnsupported,
)
from poolhand.backends.stores.gs_auth import GoogleTokens, is_googles, key_file, read_key
from poolhand.backends.stores.gs_lent import SCOPE
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
    with pytest.raises(StoreUnsupported, match="gdch_service_account"):
        GoogleTokens(client, {"type": "gdch_service_account"})


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


# ── what is lent ──────────────────────────────────────────────────────────────────────


def federated(shelf: Shelf, source: Mapping[str, object], **more: object) -> dict[str, object]:
    return {
        "type": "external_account",
        "audience": "//iam.googleapis.com/pool",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{shelf.url}/sts",
        "credential_source": source,
        **more,
    }


def acting_for(shelf: Shelf) -> dict[str, object]:
    return {"service_account_impersonation_url": f"{shelf.url}/v1/x:generateAccessToken"}


@pytest.mark.parametrize(
    "form", [{}, {"type": "json", "subject_token_field_name": "value"}], ids=["text", "json"]
)
async def test_a_token_of_another_provider(
    shelf: Shelf, client: HttpClient, tmp_path: Path, form: dict[str, object]
) -> None:
    path = tmp_path / "subject"
    _ = path.write_text(json.dumps({"value": SUBJECT}) if form else f"{SUBJECT}\n")
    key = federated(shelf, {"file": str(path), "format": form}, client_id="i", client_secret="s")  # noqa: S106  # everybody may know it
    assert await headers(GoogleTokens(client, key)) == {"authorization": f"Bearer {TOKEN}"}
    (asked,) = (json.loads(one[5:]) for one in shelf.seen if one.startswith("FORM"))
    assert asked["grant_type"] == ["urn:ietf:params:oauth:grant-type:token-exchange"]
    assert (asked["audience"], asked["scope"]) == (["//iam.googleapis.com/pool"], [SCOPE])
    assert shelf.authorized == ["/sts"], "who has a secret shows it"


async def test_a_token_of_another_provider_from_its_own_server(
    shelf: Shelf, client: HttpClient
) -> None:
    form = {"type": "json", "subject_token_field_name": "value"}
    source = {"url": f"{shelf.url}/subject", "headers": {"X-Who": "node"}, "format": form}
    tokens = GoogleTokens(client, federated(shelf, source, **acting_for(shelf)))
    assert await headers(tokens) == {"authorization": f"Bearer {TOKEN}"}
    (asked,) = (json.loads(one[5:]) for one in shelf.seen if one.startswith("BODY"))
    assert asked == {"scope": [SCOPE], "lifetime": "3600s"}


async def test_an_account_that_acts_for_another(
    shelf: Shelf, client: HttpClient, tmp_path: Path
) -> None:
    path = tmp_path / "subject"
    _ = path.write_text(SUBJECT)
    key: dict[str, object] = {
        "type": "impersonated_service_account",
        "source_credentials": federated(shelf, {"file": str(path)}),
        "delegates": ["d"],
        **acting_for(shelf),
    }
    assert await headers(GoogleTokens(client, key)) == {"authorization": f"Bearer {TOKEN}"}
    assert any(one.startswith("BODY") and '"delegates": ["d"]' in one for one in shelf.seen)
    key["source_credentials"] = {"type": "authorized_user", "refresh_token": KEY}
    key["source_credentials"]["token_uri"] = f"{shelf.url}/token"
    with pytest.raises(StoreDenied, match="may not act for"):
        await headers(GoogleTokens(client, key))


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ({"executable": {"command": "true"}}, StoreUnsupported, "from a file or a URL"),
        ({"environment_id": "aws1"}, StoreUnsupported, "from a file or a URL"),
        ({"file": "/nowhere/at/all"}, StoreDenied, "cannot be read"),
        ({"file": "/dev/null"}, StoreDenied, "has no token"),
        ({"url": "http://169.254.169.254/x"}, StoreUnsafe, "not encrypted"),
    ],
)
async def test_tokens_that_are_not_to_be_had(
    shelf: Shelf,
    client: HttpClient,
    source: Mapping[str, object],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        await headers(GoogleTokens(client, federated(shelf, source)))


def test_who_pays_stands_in_the_key_file(client: HttpClient) -> None:
    key = {"type": "authorized_user", "quota_project_id": "payer"}
    assert GoogleTokens(client, key).payer == "payer"
    assert GoogleTokens(client, None).payer == ""


def test_whose_machine_this_is(tmp_path: Path) -> None:
    product = tmp_path / "product_name"
    assert not is_googles({}, product)
    product.write_text("Some Machine\n")
    assert not is_googles({}, product)
    assert is_googles({"GCE_METADATA_HOST": "10.0.0.1"}, product)
    product.write_text("Google Compute Engine\n")
    assert is_googles({}, product)
    assert not is_googles({"NO_GCE_CHECK": "True"}, product)
