"""The store as its users meet it: botocore and aiobotocore, the command, its options."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiobotocore.session
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from poolhand.agent.dev.faults import Fault
from poolhand.agent.dev.objectstore import (
    ObjectStore,
    StoreOptions,
    add_arguments,
    main,
    options_of,
    serve,
)
from poolhand.config.errors import ConfigInvalid, ConfigUnreadable

ACCESS, SECRET = "AKIDEXAMPLE", "example/secret+key"
TOKEN = "session/token=="  # noqa: S105 - made up
T = TypeVar("T")
NAMES = [
    "a b.txt",
    "a/1",
    "a/2",
    "a/deep/3",
    "plus+and%25.bin",
    "\u00fc\u00f1\u00ef/\U0001f600.bin",
]


@pytest.fixture(autouse=True)
def _no_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 10)
    return tmp_path


@pytest.fixture
async def store(root: Path) -> AsyncIterator[ObjectStore]:
    options = StoreOptions(root=root, access_key=ACCESS, secret_key=SECRET)
    async with await serve(options) as running:
        yield running


def settings(access: str, secret: str) -> dict[str, Any]:
    return {
        "region_name": "us-east-1",
        "aws_access_key_id": access,
        "aws_secret_access_key": secret,
        "config": Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            signature_version="s3v4",
        ),
    }


async def with_client(
    store: ObjectStore, work: Callable[[Any], T], access: str = ACCESS, secret: str = SECRET
) -> T:
    """Run ``work`` with a botocore client in a thread; it blocks."""

    def run() -> T:
        session: Any = botocore.session.Session()
        client: Any = session.create_client(
            "s3", endpoint_url=store.url, **settings(access, secret)
        )
        try:
            return work(client)
        finally:
            client.close()

    return await asyncio.to_thread(run)


def list_all(client: Any) -> list[str]:  # noqa: ANN401 - botocore has no types
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket="models", PaginationConfig={"PageSize": 2}
    )
    return [entry["Key"] for page in pages for entry in page["Contents"]]


async def test_botocore_lists_page_by_page(store: ObjectStore) -> None:
    assert await with_client(store, list_all) == sorted(NAMES)


@pytest.mark.parametrize("key", NAMES)
async def test_botocore_reads_any_key(store: ObjectStore, key: str) -> None:
    def read(client: Any) -> tuple[bytes, bytes, int, bool]:  # noqa: ANN401 - no types
        where = {"Bucket": "models", "Key": key}
        head = client.head_object(**where)
        whole = client.get_object(**where, IfMatch=head["ETag"])["Body"].read()
        part = client.get_object(**where, Range="bytes=1-3")
        same = part["ContentRange"] == f"bytes 1-3/{head['ContentLength']}"
        return whole, part["Body"].read(), head["ContentLength"], same

    body = key.encode() * 10
    assert await with_client(store, read) == (body, body[1:4], len(body), True)


async def test_botocore_sees_folders(store: ObjectStore) -> None:
    def look(client: Any) -> tuple[list[str], list[str]]:  # noqa: ANN401 - no types
        page = client.list_objects_v2(Bucket="models", Prefix="a/", Delimiter="/")
        keys = [entry["Key"] for entry in page["Contents"]]
        return keys, [entry["Prefix"] for entry in page["CommonPrefixes"]]

    assert await with_client(store, look) == (["a/1", "a/2"], ["a/deep/"])


async def test_botocore_presigns_what_anybody_may_then_fetch(store: ObjectStore) -> None:
    def presign(client: Any) -> bytes:  # noqa: ANN401 - no types
        where = {"Bucket": "models", "Key": NAMES[-1]}
        url: str = client.generate_presigned_url("get_object", Params=where, ExpiresIn=60)
        with urllib.request.urlopen(url, timeout=10) as reply:  # noqa: S310 - loopback
            return bytes(reply.read())

    assert await with_client(store, presign) == NAMES[-1].encode() * 10


@pytest.mark.parametrize(
    ("access", "secret", "code"),
    [(ACCESS, "wrong", "SignatureDoesNotMatch"), ("wrong", SECRET, "InvalidAccessKeyId")],
)
async def test_the_wrong_keys_are_refused_by_name(
    store: ObjectStore, access: str, secret: str, code: str
) -> None:
    with pytest.raises(ClientError) as caught:
        await with_client(store, list_all, access, secret)
    refusal: Any = caught.value
    assert refusal.response["Error"]["Code"] == code
    assert refusal.response["ResponseMetadata"]["HTTPStatusCode"] == 403


async def test_who_does_not_sign_is_denied_and_faults_still_come_first(
    store: ObjectStore,
) -> None:
    def fetch() -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"{store.url}/models/a/1", timeout=10) as reply:  # noqa: S310
                return reply.status, bytes(reply.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read()

    status, body = await asyncio.to_thread(fetch)
    assert (status, b"<Code>AccessDenied</Code>" in body) == (403, True)
    store.faults.put([Fault(status=503)])
    assert (await asyncio.to_thread(fetch))[0] == 503


async def test_a_session_token_has_to_be_the_one(root: Path) -> None:
    options = StoreOptions(root=root, access_key=ACCESS, secret_key=SECRET, session_token=TOKEN)

    async def listed_with(store: ObjectStore, token: str) -> int:
        session: Any = aiobotocore.session.AioSession()
        async with session.create_client(
            "s3",
            endpoint_url=store.url,
            aws_session_token=token,
            **settings(ACCESS, SECRET),
        ) as client:
            page = await client.list_objects_v2(Bucket="models")
            return int(page["KeyCount"])

    async with await serve(options) as store:
        assert await listed_with(store, TOKEN) == len(NAMES)
        with pytest.raises(ClientError, match="InvalidToken"):
            await listed_with(store, "another")


async def test_a_store_without_keys_lets_everybody_read(root: Path) -> None:
    async with await serve(StoreOptions(root=root)) as store:
        assert await with_client(store, list_all, "any", "thing") == sorted(NAMES)


async def test_a_replaced_object_is_a_failed_precondition_to_a_client(store: ObjectStore) -> None:
    def read_twice(client: Any) -> str:  # noqa: ANN401 - no types
        where = {"Bucket": "models", "Key": "a/1"}
        etag = client.get_object(**where)["ETag"]
        try:
            client.get_object(**where, IfMatch=etag)
        except ClientError as error:
            refusal: Any = error
            return str(refusal.response["Error"]["Code"])
        return "granted"

    assert await with_client(store, read_twice) == "granted"
    store.faults.put([Fault(replace_after_gets=1)])
    assert await with_client(store, read_twice) == "PreconditionFailed"


async def test_aiobotocore_lists_and_reads(store: ObjectStore) -> None:
    session: Any = aiobotocore.session.AioSession()
    async with session.create_client(
        "s3", endpoint_url=store.url, **settings(ACCESS, SECRET)
    ) as client:
        page = await client.list_objects_v2(Bucket="models", Prefix="\u00fc")
        key = page["Contents"][0]["Key"]
        reply = await client.get_object(Bucket="models", Key=key, Range="bytes=-4")
        async with reply["Body"] as body:
            assert await body.read() == (key.encode() * 10)[-4:]
        missing = "no such key"
        with pytest.raises(ClientError, match="NoSuchKey"):
            await client.get_object(Bucket="models", Key=missing)


# ── options and the command ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])  # noqa: S104
async def test_it_listens_on_loopback_only(root: Path, host: str) -> None:
    with pytest.raises(ConfigInvalid, match="loopback"):
        await serve(StoreOptions(root=root, host=host))


async def test_options_that_cannot_be_are_refused(root: Path) -> None:
    with pytest.raises(ConfigUnreadable):
        await serve(StoreOptions(root=root / "none"))
    with pytest.raises(ConfigInvalid, match="half"):
        await serve(StoreOptions(root=root, access_key="a"))
    with pytest.raises(ConfigInvalid, match="exclude"):
        options_of(parsed("--root", "x", "--anonymous", "--access-key", "a", "--secret-key", "b"))


async def test_a_taken_port_is_an_os_error_and_leaves_nothing_open(
    store: ObjectStore, root: Path
) -> None:
    with pytest.raises(OSError, match="in use"):
        await serve(StoreOptions(root=root, port=store.port))


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_arguments_become_options(tmp_path: Path) -> None:
    words = ["--port", "9000", "--access-key", "a", "--secret-key", "b", "--region", "eu-test-1"]
    options = options_of(parsed("--root", str(tmp_path), *words))
    expected = StoreOptions(
        root=tmp_path,
        port=9000,
        access_key="a",
        secret_key=words[5],
        region="eu-test-1",
    )
    assert options == expected
    assert "secret_key" not in repr(options)
    assert options_of(parsed("--root", ".", "--anonymous")).credentials is None


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(parsed("--root", str(tmp_path / "none"))) == 78
    assert "none" in capsys.readouterr().err


async def test_the_command_reports_a_taken_port(store: ObjectStore, root: Path) -> None:
    arguments = parsed("--root", str(root), "--port", str(store.port))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "poolhand.agent.dev.objectstore"),
        *("--root", str(arguments.root), "--port", str(arguments.port)),
        stderr=asyncio.subprocess.PIPE,
    )
    _, error = await process.communicate()
    assert (process.returncode, b"cannot listen" in error) == (71, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_told_to_stop(root: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "poolhand.agent.dev.objectstore", "--root", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("store ready on http://127.0.0.1:")
        url = f"{ready.split()[-1]}/models/a/1"
        with urllib.request.urlopen(url, timeout=10) as reply:  # noqa: S310 - loopback
            assert reply.read() == b"a/1" * 10
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stdout.read() == ""


def test_aiohttp_is_not_imported_before_a_store_runs() -> None:
    code = "import sys, poolhand.agent.dev.objectstore; print('aiohttp' in sys.modules)"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
