"""A server that says exactly what a test gives it, on a Unix socket."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from poolhand.backends.engines.http_call import Peer

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[Talk], AbstractAsyncContextManager[Peer]]


@pytest.fixture
def serve() -> Serve:
    """Makes a server of a talk: what it reads and writes on each connection."""
    return _serve


@asynccontextmanager
async def _serve(talk: Talk) -> AsyncGenerator[Peer]:
    async with asyncio.TaskGroup() as talks:

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                await talk(reader, writer)
            writer.close()

        def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            talks.create_task(take(reader, writer))

        with tempfile.TemporaryDirectory(prefix="ph") as folder:
            path = str(Path(folder) / "s")
            server = await asyncio.start_unix_server(meet, path)
            try:
                yield Peer("http://localhost", socket_path=path)
            finally:
                server.close()
