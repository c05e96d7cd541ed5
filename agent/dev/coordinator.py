"""A small coordinator for development: the real wire, on loopback, and an OpenAI API.

Agents connect to ``/ws/provider`` and meet what the real one would say and do to them;
clients of OpenAI's API connect to ``/v1``; tests steer it through ``/dev``. It keeps nothing,
checks no one's identity, and refuses to listen where another machine could reach it.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
import uuid
from collections.abc import AsyncGenerator, Sequence

from aiohttp import WSCloseCode, web

from ...config.frozen import frozen
from .front import Front
from .lines import Line
from .options import CoordinatorOptions, is_loopback, read_alias
from .provider import Provider
from .registry import Registry
from .steering import Steering

__all__ = ["CoordinatorOptions", "Running", "add_arguments", "main", "serve"]

PROVIDER_PATH = "/ws/provider"
EXIT_USAGE = 2
SHUTDOWN_S = 2.0
"""How long clients may take to hear that it is over, in seconds."""

_LOG = logging.getLogger("poolhand.dev.coordinator")


class NotLoopback(ValueError):
    """The address could be reached from elsewhere."""

    def __init__(self, *, host: str) -> None:
        super().__init__(f"a dev coordinator listens on loopback only, not on {host!r}")


@frozen
class Running:
    """A coordinator that listens.

    Attributes:
        registry: What it knows, for tests in the same process.
    """

    host: str
    port: int
    registry: Registry

    @property
    def url(self) -> str:
        """Where clients find it, without a path."""
        return f"http://{self._place}"

    @property
    def ws_url(self) -> str:
        """Where agents find it."""
        return f"ws://{self._place}{PROVIDER_PATH}"

    @property
    def _place(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class _Coordinator:
    """Joins the sockets, the public side and the levers."""

    def __init__(self, options: CoordinatorOptions) -> None:
        self._options = options
        self.registry = Registry(options.aliases)
        self._lines: dict[str, Line] = {}

    def application(self) -> web.Application:
        """All routes, and what happens at the end."""
        app = web.Application(client_max_size=self._options.max_body_bytes)
        front = Front(registry=self.registry, lines=self._lines, options=self._options)
        steering = Steering(registry=self.registry, lines=self._lines)
        app.router.add_get(PROVIDER_PATH, self._provider)
        app.router.add_routes([*front.routes(), *steering.routes()])
        app.on_shutdown.append(self._hang_up)
        app.cleanup_ctx.append(self._sweeping)
        return app

    async def _sweeping(self, _: web.Application) -> AsyncGenerator[None]:
        async with asyncio.TaskGroup() as group:
            sweeper = group.create_task(self._sweep())
            yield
            sweeper.cancel()

    async def _sweep(self) -> None:
        """Drop whoever falls silent, for ever."""
        while True:
            await asyncio.sleep(self._options.sweep_s)
            now_s = asyncio.get_running_loop().time()
            for provider in self.registry.sweep(now_s, stale_s=self._options.stale_s):
                _LOG.warning("evicted provider=%s", provider.id)
                self._lines[provider.id].drop()

    async def _provider(self, request: web.Request) -> web.WebSocketResponse:
        """One agent's socket, from its upgrade to its end."""
        socket = web.WebSocketResponse(
            max_msg_size=self._options.max_frame_bytes, compress=False, timeout=SHUTDOWN_S
        )
        await socket.prepare(request)
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            return socket
        now_s = asyncio.get_running_loop().time()
        provider = Provider(id=str(uuid.uuid4()), connected_s=now_s)
        line = Line(
            socket=socket,
            transport=transport,
            provider=provider,
            registry=self.registry,
            options=self._options,
        )
        self.registry.providers[provider.id] = provider
        self._lines[provider.id] = line
        _LOG.info("connected provider=%s", provider.id)
        try:
            await line.run()
        finally:
            del self._lines[provider.id]
            _LOG.info("gone provider=%s %s", provider.id, provider.ended)
        return socket

    async def _hang_up(self, _: web.Application) -> None:
        async with asyncio.TaskGroup() as group:
            for line in self._lines.values():
                group.create_task(line.close(WSCloseCode.GOING_AWAY, "coordinator stops"))


@contextlib.asynccontextmanager
async def serve(options: CoordinatorOptions) -> AsyncGenerator[Running]:
    """Listen while the block runs; at its end sockets are closed with 1001.

    Raises:
        NotLoopback: ``options.host`` could be reached from another machine.
        OSError: The port is taken.
    """
    if not is_loopback(options.host):
        raise NotLoopback(host=options.host)
    coordinator = _Coordinator(options)
    # a client that hangs up cancels its request, which is how the provider hears of it
    runner = web.AppRunner(
        coordinator.application(),
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=SHUTDOWN_S,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, options.host, options.port, reuse_address=True)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield Running(host=host, port=port, registry=coordinator.registry)
    finally:
        await runner.cleanup()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``poolhand dev coordinator``."""
    usual = CoordinatorOptions()
    parser.add_argument("--host", default=usual.host, help="a loopback address")
    parser.add_argument("--port", type=int, default=usual.port, help="0 for any free port")
    parser.add_argument(
        "--alias",
        action="append",
        default=[],
        type=read_alias,
        metavar="NAME=DESIRED[,PREVIOUS]",
        help="a public name and the build behind it; may be repeated",
    )
    parser.add_argument("--registry", metavar="FOLDER", help="builds that the catalog lists")
    parser.add_argument("--challenge-interval-s", type=float, default=usual.challenge_interval_s)
    parser.add_argument(
        "--cold-dispatch",
        action="store_true",
        help="send requests to agents that have to load the model first",
    )


def main(args: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT; the exit status is 0, or 2 for an address that is refused."""
    options = CoordinatorOptions(
        host=args.host,
        port=args.port,
        aliases=tuple(args.alias),
        sends_desired=bool(args.alias),
        challenge_interval_s=args.challenge_interval_s,
        registry=args.registry,
        is_cold_dispatch=args.cold_dispatch,
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(_run(options))
    except (NotLoopback, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    return 0


async def _run(options: CoordinatorOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serve(options) as running:
        sys.stdout.write(f"coordinator ready on {running.url} (for development, loopback only)\n")
        sys.stdout.flush()
        await stop.wait()


def _from_command_line(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="coordinator", description=(__doc__ or "").split("\n")[0])
    add_arguments(parser)
    return main(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(_from_command_line())
