"""The agent's side of a fetch: start the child, hear it, end it.

The agent holds no connection to any store and no byte of weights; all it sees of a fetch is
lines and an exit. Cancelling the task ends the child: asked first, killed after a while;
what has arrived stays for the next time.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...backends.stores.base import Build, Progress
from ...backends.stores.errors import FetchDied
from ...config.errors import AgentError
from .cache import Cache
from .lines import MAX_LINE_BYTES, FetchJob, Mode, Result, Tensors, decode, encode_job, encode_limit
from .verify import verify

__all__ = ["FetchJob", "fetch", "sizes"]

CHILD = (sys.executable, "-m", "poolhand.agent.weights.child")
STOP_PATIENCE_S = 5.0
_TAIL_BYTES = 4096

_PASSED_ON = frozenset(
    {"HOME", "PATH", "LANG", "TMPDIR", "USER", "LOGNAME", "LD_LIBRARY_PATH", "PYTHONPATH"}
    | {"CLOUDSDK_CONFIG", "GCE_METADATA_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "NO_GCE_CHECK"}
    | {"STORAGE_EMULATOR_HOST", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_CACHE"}
    | {"XDG_CACHE_HOME", "TRANSFORMERS_OFFLINE"}
)
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"})
_PASSED_ON_PREFIXES = ("AWS_", "SSL_CERT_", "LC_", "BOTO_", "HF_", "NGC_")


async def fetch(
    job: FetchJob,
    *,
    told: Callable[[Progress], None],
    arrived: Callable[[Tensors], None] | None = None,
    limits: asyncio.Queue[int | None] | None = None,
    environ: Mapping[str, str] = os.environ,
    command: Sequence[str] = CHILD,
) -> Build:
    """Bring a model here, verified; at once if it is here already.

    Args:
        job: What to bring.
        told: Hears of progress, at most four times a second, in this loop.
        arrived: Hears which tensors can be read from files that are not whole yet.
        limits: New limits in bytes a second, heard while it runs; ``None``: no limit.
        environ: The agent's environment; the child gets what a store's client needs of it.
        command: How the child is started.

    Raises:
        WeightsError: The leaf says what went wrong.
        FetchDied: The child ended without a word.
    """
    cache = Cache(job.cache_dir)
    here = await asyncio.to_thread(cache.build, job.model, str(job.ref))
    if here is not None:
        return here
    job = replace(job, tells_tensors=arrived is not None)
    _ = await _run(
        job, "fetch", told=told, arrived=arrived, limits=limits, environ=environ, command=command
    )
    return await asyncio.to_thread(verify, cache.folder(job.model), model=job.model)


async def sizes(
    job: FetchJob,
    *,
    environ: Mapping[str, str] = os.environ,
    command: Sequence[str] = CHILD,
) -> int:
    """Ask the store how large a model is, in bytes, and remember it for the inventory.

    Raises:
        WeightsError: The leaf says what went wrong.
    """
    found = await _ask(job, "list", environ, command)
    return found.size_bytes


async def look(
    job: FetchJob,
    *,
    environ: Mapping[str, str] = os.environ,
    command: Sequence[str] = CHILD,
) -> Result:
    """The same, with what configuration and headers tell of the model before it is fetched.

    Raises:
        WeightsError: The leaf says what went wrong; a header that lies is found here already.
    """
    return await _ask(job, "look", environ, command)


async def _ask(
    job: FetchJob, mode: Mode, environ: Mapping[str, str], command: Sequence[str]
) -> Result:
    found = await _run(job, mode, told=lambda _: None, environ=environ, command=command)
    cache = Cache(job.cache_dir)
    await asyncio.to_thread(cache.remember, job.model, str(job.ref), found.size_bytes)
    return found


def child_environ(environ: Mapping[str, str], *, is_proxied: bool = False) -> dict[str, str]:
    """What the child may see: what a store's client needs, and no secret of the agent.

    Args:
        environ: The agent's own.
        is_proxied: Whether it may go through a proxy, whose address may hold a password.
    """
    return {
        name: value
        for name, value in environ.items()
        if name in _PASSED_ON
        or name.startswith(_PASSED_ON_PREFIXES)
        or (is_proxied and name.upper() in _PROXIES)
    }


async def _run(
    job: FetchJob,
    mode: Mode,
    *,
    told: Callable[[Progress], None],
    arrived: Callable[[Tensors], None] | None = None,
    limits: asyncio.Queue[int | None] | None = None,
    environ: Mapping[str, str],
    command: Sequence[str],
) -> Result:
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environ(environ, is_proxied=job.stores.s3.engine == "portable"),
        limit=MAX_LINE_BYTES,
    )
    try:
        async with asyncio.TaskGroup() as group:
            tail = group.create_task(_tail(child), name=f"fetch-stderr {job.model}")
            await _say(child, encode_job(job, mode))
            passing = group.create_task(_pass_on(child, limits), name=f"limits {job.model}")
            said = await _hear(child, told, arrived or _nobody)
            exit_code = await child.wait()
            _ = passing.cancel()
    finally:
        await _end(child)
    if isinstance(said, AgentError):
        raise said
    if said is None or exit_code != 0:
        raise FetchDied(model=job.model, exit_code=exit_code, tail=tail.result())
    return said


async def _say(child: asyncio.subprocess.Process, line: bytes) -> None:
    """Say a line; the standard input stays open, for its end would tell that we are gone."""
    if child.stdin is None:
        raise ValueError(child)
    with contextlib.suppress(ConnectionError):  # it died before it read: it has no last word
        child.stdin.write(line)
        await child.stdin.drain()


async def _pass_on(
    child: asyncio.subprocess.Process, limits: asyncio.Queue[int | None] | None
) -> None:
    while limits is not None:
        await _say(child, encode_limit(await limits.get()))


async def _hear(
    child: asyncio.subprocess.Process,
    told: Callable[[Progress], None],
    arrived: Callable[[Tensors], None],
) -> Result | AgentError | None:
    """Hear the child out; its last word, if it had one."""
    if child.stdout is None:
        raise ValueError(child)
    last: Result | AgentError | None = None
    while True:
        try:
            heard = await child.stdout.readline()
        except ValueError:
            continue  # longer than any line it says; the stream has dropped it
        if not heard:
            return last
        match decode(heard):
            case Progress() as progress:
                told(progress)
            case Tensors() as tensors:
                arrived(tensors)
            case None:
                pass
            case word:
                last = word


def _nobody(_tensors: Tensors) -> None:
    """Nobody reads what is not whole."""


async def _tail(child: asyncio.subprocess.Process) -> str:
    """Read standard error to its end and keep the last of it."""
    if child.stderr is None:
        raise ValueError(child)
    kept = b""
    while piece := await child.stderr.read(_TAIL_BYTES):
        kept = (kept + piece)[-_TAIL_BYTES:]
    return kept.decode(errors="replace")


async def _end(child: asyncio.subprocess.Process) -> None:
    """Make sure that the child is gone: asked first, killed after a while."""
    if child.stdin is not None:
        child.stdin.close()
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        async with asyncio.timeout(STOP_PATIENCE_S):
            _ = await child.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        _ = await child.wait()
