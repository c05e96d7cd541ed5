"""A small S3 server over a folder, for development: ``folder/bucket/key`` is an object.

It listens on loopback only. It lists (v2), reads whole objects and ranges, checks SigV4
when it is given a key pair, and does wrong whatever it is told to: see :mod:`.faults`, and
``POST /_faults``; ``GET /_stats`` tells what was asked. It never writes into the folder.

    python -m poolhand.agent.dev.objectstore --root DIR --port 9000 --anonymous
"""

import argparse
import asyncio
import ipaddress
import signal
import sys
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ...config.errors import AgentError, ConfigInvalid, ConfigUnreadable
from ...config.frozen import frozen
from .buckets import Buckets
from .faults import Fault, Faults
from .sigv4 import Credentials

if TYPE_CHECKING:
    from aiohttp import web

    from .storefront import Storefront

_EXIT_OSERR = 71
_EXIT_CONFIG = 78
_GOODBYE_S = 0.2
"""Seconds that running answers get when the store closes; a stalled one never ends."""


@frozen
class StoreOptions:
    """What a store is started with.

    Attributes:
        root: Holds one folder for each bucket.
        host: A loopback address.
        port: 0 lets the system choose.
        access_key: With ``secret_key``: requests have to be signed. Both empty: anybody may
            read.
        session_token: If not empty, requests have to bear exactly this one.
        region: Told to clients that ask where a bucket is.
        faults: Those in force at the start.
    """

    root: Path
    host: str = "127.0.0.1"
    port: int = 0
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    region: str = "us-east-1"
    faults: Sequence[Fault] = ()

    @property
    def credentials(self) -> Credentials | None:
        """What requests are checked with; ``None`` if they are not."""
        if not self.access_key:
            return None
        return Credentials(self.access_key, self.secret_key, self.session_token)


class ObjectStore:
    """A running store; made by :func:`serve`, closed by ``close`` or ``async with``.

    Attributes:
        port: Where it listens.
        url: The endpoint to give to clients, such as ``http://127.0.0.1:9000``.
        faults: What goes wrong; may be changed at any time.
    """

    def __init__(
        self,
        runner: "web.ServerRunner",
        front: "Storefront",
        *,
        host: str,
        port: int,
        faults: Faults,
    ) -> None:
        self._runner = runner
        self._front = front
        self.port = port
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.faults = faults

    async def __aenter__(self) -> Self:
        """It runs already."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        await self._runner.cleanup()
        self._front.close()


async def serve(options: StoreOptions) -> ObjectStore:
    """Start a store; it listens when this returns.

    Raises:
        ConfigInvalid: The address is not loopback, or only half a key pair is given.
        ConfigUnreadable: There is no folder to serve.
        OSError: The port is taken.
    """
    _require_loopback(options.host)
    if bool(options.access_key) != bool(options.secret_key):
        raise ConfigInvalid(path="dev store", line=None, problem="half a key pair is none")
    if not options.root.is_dir():
        raise ConfigUnreadable(path=str(options.root), reason="not a folder")
    # aiohttp is heavy: only a process that runs a store pays for it
    from aiohttp import web  # noqa: PLC0415 - see above

    from .storebody import Stats  # noqa: PLC0415 - needs aiohttp
    from .storefront import Storefront  # noqa: PLC0415 - needs aiohttp

    faults = Faults(options.faults)
    front = Storefront(
        Buckets(options.root),
        faults=faults,
        stats=Stats(),
        region=options.region,
        credentials=options.credentials,
    )
    # a client that goes away ends its answer, a stalled one too
    server = web.Server(front.answer, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=_GOODBYE_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.port).start()
    except OSError:
        await runner.cleanup()
        front.close()
        raise
    return ObjectStore(runner, front, host=options.host, port=runner.addresses[0][1], faults=faults)


def _require_loopback(host: str) -> None:
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ConfigInvalid(
            path="dev store", line=None, problem=f"{host!r} is not a loopback address"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``poolhand dev store`` to a parser."""
    parser.add_argument("--root", type=Path, required=True, help="folder that holds the buckets")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--access-key", default="", help="requests have to be signed with it")
    parser.add_argument("--secret-key", default="", help="for development only, as all of this")
    parser.add_argument("--session-token", default="", help="requests have to bear it")
    parser.add_argument("--region", default="us-east-1", help="told to clients that ask")
    parser.add_argument("--anonymous", action="store_true", help="let everybody read")


def options_of(arguments: argparse.Namespace) -> StoreOptions:
    """What the arguments of :func:`add_arguments` say.

    Raises:
        ConfigInvalid: They contradict each other.
    """
    given = dict(vars(arguments))
    if given["anonymous"] and given["access_key"]:
        raise ConfigInvalid(
            path="dev store", line=None, problem="--anonymous and --access-key exclude each other"
        )
    names = StoreOptions.__dataclass_fields__
    return StoreOptions(**{name: value for name, value in given.items() if name in names})


async def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; the exit status is 0 then."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with await serve(options_of(arguments)) as store:
        sys.stdout.write(f"store ready on {store.url}\n")
        sys.stdout.flush()
        await stop.wait()
    return 0


def main(arguments: argparse.Namespace | None = None) -> int:
    """Run a store in the foreground; return the exit status.

    Args:
        arguments: As :func:`add_arguments` has them; ``None`` reads the command line.
    """
    if arguments is None:
        parser = argparse.ArgumentParser(prog="objectstore", description="A small S3, for tests.")
        add_arguments(parser)
        arguments = parser.parse_args()
    try:
        return asyncio.run(run(arguments))
    except AgentError as error:
        sys.stderr.write(f"{error}\n{error.remedy}\n")
        return _EXIT_CONFIG
    except OSError as error:
        sys.stderr.write(f"cannot listen: {error}\n")
        return _EXIT_OSERR


if __name__ == "__main__":
    sys.exit(main())
