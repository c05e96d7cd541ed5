"""Credentials out of every link of AWS's chain, each given out by a stand-in.

The stand-ins speak what the documented services do: STS by its query API, SSO by its portal's,
container credentials and an instance's metadata over HTTP. AWS itself was not reached.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from poolhand.agent.dev.faults import Fault
from poolhand.agent.dev.objectstore import ObjectStore, StoreOptions, serve
from poolhand.agent.weights.here import bring_here
from poolhand.agent.weights.lines import FetchJob
from poolhand.backends.stores.errors import StoreDenied
from poolhand.backends.stores.s3 import S3Store
from poolhand.backends.stores.s3_session import Session
from poolhand.config.refs import ModelRef
from poolhand.config.settings import S3, Stores, Weights

ACCESS, SECRET, PASSING = "ASIATEST", "s3cr3t/+key", "tok/en+="
REF = ModelRef.parse("s3://models/tiny")
ROLE = "arn:aws:iam::123456789012:role/reader"
LASTS = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
STS_SAYS = """<{0}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{0}Result>
<AssumedRoleUser><Arn>{1}/s</Arn><AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>{2}</AccessKeyId><SecretAccessKey>{3}</SecretAccessKey>
<SessionToken>{4}</SessionToken><Expiration>{5}</Expiration></Credentials></{0}Result></{0}Response>"""


@dataclass
class Giver:
    """Whoever gives credentials out; says what it was asked."""

    url: str = ""
    asked: list[str] = field(default_factory=list[str])

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = (await request.text()) if request.can_read_body else ""
        said = f"{request.method} {request.path_qs} {body}"
        self.asked.append(said)
        headers = request.headers
        keys = {"AccessKeyId": ACCESS, "SecretAccessKey": SECRET, "Token": PASSING}
        keys["Expiration"] = LASTS
        for action in ("AssumeRoleWithWebIdentity", "AssumeRole"):
            if f"Action={action}&" in body:
                text = STS_SAYS.format(action, ROLE, ACCESS, SECRET, PASSING, LASTS)
                return web.Response(text=text, content_type="text/xml")
        if request.path == "/federation/credentials":
            if headers.get("x-amz-sso_bearer_token") != "sso-token":
                return web.Response(status=401)
            lasts_ms = int(datetime.now(UTC).timestamp() * 1000) + 3_600_000
            role = {"accessKeyId": ACCESS, "secretAccessKey": SECRET, "sessionToken": PASSING}
            return web.json_response({"roleCredentials": {**role, "expiration": lasts_ms}})
        if request.path == "/container":
            is_known = headers.get("Authorization") == "container-token"
            return web.json_response(keys) if is_known else web.Response(status=403)
        return self._instance(request, keys)

    def _instance(self, request: web.BaseRequest, keys: Mapping[str, str]) -> web.Response:
        """As IMDSv2: nothing without a token of its own."""
        if request.method == "PUT" and request.path == "/latest/api/token":
            return web.Response(text="imds-token")
        if request.headers.get("x-aws-ec2-metadata-token") != "imds-token":
            return web.Response(status=401)
        base = "/latest/meta-data/iam/security-credentials/"
        if request.path == base:
            return web.Response(text="node-role")
        if request.path == f"{base}node-role":
            return web.json_response({"Code": "Success", "Type": "AWS-HMAC", **keys})
        return web.Response(status=404)


@pytest.fixture
async def giver() -> AsyncIterator[Giver]:
    made = Giver()
    runner = web.ServerRunner(web.Server(made.answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def store(root: Path) -> AsyncIterator[ObjectStore]:
    keys = StoreOptions(root, access_key=ACCESS, secret_key=SECRET, session_token=PASSING)
    async with await serve(keys) as server:
        yield server


async def reads(store: ObjectStore, config: S3 | None = None) -> bool:
    """Whether the store's one file can be listed and read."""
    asked = (config or S3()).model_copy(update={"endpoint": store.url})
    opened = S3Store(REF, asked, os.environ)
    try:
        (file,) = await opened.files()
        return await opened.read(file) == b'{"a": 1}'
    finally:
        await opened.close()


async def test_a_web_identity_becomes_a_role(
    store: ObjectStore, giver: Giver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    _ = token.write_text("a.jwt.token")
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", giver.url)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert await reads(store)
    assert "WebIdentityToken=a.jwt.token" in giver.asked[0]


async def test_a_profile_takes_a_role_with_anothers_keys(
    store: ObjectStore, giver: Giver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _ = (tmp_path / "aws_config_file").write_text(
        "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = base\n"
        f"[profile reader]\nrole_arn = {ROLE}\nsource_profile = base\nregion = eu-west-1\n"
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", giver.url)
    assert await reads(store, S3(profile="reader"))
    assert "Action=AssumeRole&" in giver.asked[0]


async def test_a_program_gives_them_out(store: ObjectStore, tmp_path: Path) -> None:
    said = {"Version": 1, "AccessKeyId": ACCESS, "SecretAccessKey": SECRET}
    _ = (tmp_path / "said.json").write_text(json.dumps({**said, "SessionToken": PASSING}))
    program = f"credential_process = /bin/cat {tmp_path}/said.json"
    _ = (tmp_path / "aws_config_file").write_text(f"[default]\n{program}\n")
    assert await reads(store)


async def test_single_sign_on(store: ObjectStore, giver: Giver, tmp_path: Path) -> None:
    """In a process of its own: botocore looks for the token below the home of its import."""
    start = "https://example.awsapps.com/start"
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    name = hashlib.sha1(start.encode(), usedforsecurity=False).hexdigest()
    token = {"startUrl": start, "region": "eu-west-1", "accessToken": "sso-token"}
    _ = (cache / f"{name}.json").write_text(json.dumps({**token, "expiresAt": LASTS}))
    _ = (tmp_path / "aws_config_file").write_text(
        f"[default]\nregion = eu-west-1\nsso_start_url = {start}\nsso_region = eu-west-1\n"
        "sso_account_id = 123456789012\nsso_role_name = reader\n"
    )
    words = ["models", "fetch", str(REF), "--endpoint", store.url, "--to", str(tmp_path / "to")]
    environ = {**os.environ, "HOME": str(tmp_path), "AWS_ENDPOINT_URL_SSO": giver.url}

    def fetch() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "poolhand.agent", *words]
        return subprocess.run(  # noqa: S603  # our own program
            command, env=environ, capture_output=True, text=True, timeout=50, check=False
        )

    ended = await asyncio.to_thread(fetch)
    assert (ended.returncode, ended.stderr.count("Traceback")) == (0, 0), ended.stderr
    assert giver.asked[0].startswith("GET /federation/credentials?role_name=reader")
    assert (tmp_path / "to" / "config.json").read_bytes() == b'{"a": 1}'
    assert not {word for word in ("sso-token", SECRET) if word in ended.stdout + ended.stderr}


@pytest.mark.parametrize("is_instance", [True, False])
async def test_a_machines_own_role_for_aws(
    giver: Giver, monkeypatch: pytest.MonkeyPatch, *, is_instance: bool
) -> None:
    """An instance's or a container's; where AWS is not going to see it, it is not asked for."""
    if is_instance:
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", giver.url)
    else:
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container-token")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{giver.url}/container")
    found = await Session(None).credentials(is_aws=True)
    assert found is not None
    assert (found.access_key, found.token) == (ACCESS, PASSING)
    assert SECRET not in repr(found)
    assert await Session(None).credentials(is_aws=False) is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ExpiredToken", "expired"),
        ("ExpiredTokenException", "expired"),
        ("InvalidTokenId", "session token"),
        ("InvalidAccessKeyId", "access key"),
    ],
)
async def test_what_expires_on_the_way_is_asked_for_again(
    store: ObjectStore, root: Path, tmp_path: Path, code: str, words: str
) -> None:
    """The store calls them expired in the middle; whoever gives them out is asked once more."""
    (root / "models" / "tiny" / "a.txt").write_bytes(b"a" * 300_000)
    said = {"Version": 1, "AccessKeyId": ACCESS, "SecretAccessKey": SECRET}
    _ = (tmp_path / "said.json").write_text(json.dumps({**said, "SessionToken": PASSING}))
    program = tmp_path / "give.sh"
    _ = program.write_text(f"#!/bin/sh\necho x >> {tmp_path}/count\ncat {tmp_path}/said.json\n")
    program.chmod(0o755)
    _ = (tmp_path / "aws_config_file").write_text(f"[default]\ncredential_process = {program}\n")
    store.faults.put([Fault(key="*a.txt", first=2, status=400, code=code)])
    weights = Weights(chunk_bytes=2**16, connections=2, max_connections=2)
    stores = Stores(s3=S3(endpoint=store.url))
    job = FetchJob("m", REF, stores, weights, str(tmp_path / "cache"))
    _ = await asyncio.to_thread(bring_here, job, told=lambda _: None)
    assert (tmp_path / "count").read_text().count("x") == 2
    store.faults.put([Fault(key="*a.txt", status=400, code=code)])
    other = FetchJob("n", REF, stores, weights, str(tmp_path / "other"))
    with pytest.raises(StoreDenied, match=words):
        _ = await asyncio.to_thread(bring_here, other, told=lambda _: None)
