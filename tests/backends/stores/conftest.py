"""A clean environment and small servers for every test of a store."""

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from poolhand.agent.dev.objectstore import ObjectStore, StoreOptions, serve
from tests.certificates import certified

# the stand-ins lie beside the contract suite
sys.path.insert(0, str(Path(__file__).parents[2] / "contract"))

ACCESS, SECRET = "AKIDTEST", "s3cr3t/+key"
CONFIG = b'{"a": 1}'

Answer = Callable[[str], bytes]
Listening = Callable[[Answer, ssl.SSLContext | None], AbstractAsyncContextManager[str]]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root" / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(CONFIG)
    return tmp_path / "root"


@pytest.fixture
async def signed(root: Path) -> AsyncIterator[ObjectStore]:
    async with await serve(StoreOptions(root, access_key=ACCESS, secret_key=SECRET)) as server:
        yield server


@pytest.fixture
async def public(root: Path) -> AsyncIterator[ObjectStore]:
    async with await serve(StoreOptions(root)) as server:
        yield server


@pytest.fixture(params=[True, False])
def is_lean(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Whether S3 is asked by our own few lines, or by the library."""
    if not request.param:  # whoever has such a file has the library asked
        (tmp_path / "config").touch()
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return bool(request.param)


@pytest.fixture
def listening() -> Listening:
    """Starts a server of a few lines, for answers that no store gives; gives its URL."""
    return _listening


@asynccontextmanager
async def _listening(answer: Answer, context: ssl.SSLContext | None) -> AsyncGenerator[str]:
    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(head.decode()))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # who does not trust us leaves
        finally:
            writer.close()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost, signed by itself; its key lies beside it."""
    return certified(tmp_path_factory.mktemp("tls"))[0]


@pytest.fixture
def speaks_tls(ca_file: Path) -> ssl.SSLContext:
    """How a server speaks that has this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, ca_file.with_name("key.pem"))
    return context
