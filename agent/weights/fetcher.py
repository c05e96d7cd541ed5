"""The child that brings one model here: ``python -m poolhand.agent.weights.fetcher``.

It reads one job from standard input, tells progress on standard output, and ends with one
result or error and an exit code. It stops when told by SIGTERM, and when the agent is gone,
which it notices by the end of its standard input.

The room's map: ``fetch`` (the agent's side) starts this child; ``lines`` is what the two
say; ``bring`` does the job: ``cache`` (layout, lock), ``manifest`` (promises), ``plan`` and
``journal`` (what is missing, what arrived), ``parts`` (files on disk), ``pull`` (threads),
``ranges`` (one GET), ``digests`` (sha256 behind the frontier), ``headers`` and ``verify``
(may an engine open it?), ``publish`` and ``record`` (``manifest.ok``). ``inventory`` tells
the agent what is here.
"""

import os
import resource
import signal
import sys
import threading

from ...backends.stores.base import Progress
from ...backends.stores.catalog import store_for
from ...config.errors import AgentError
from .bring import Bring, FindStore
from .digests import Interrupted
from .lines import (
    EXIT_FAILED,
    EXIT_STOPPED,
    MAX_LINE_BYTES,
    FetchJob,
    Mode,
    Result,
    Tensors,
    decode_limits,
    encode_error,
    encode_progress,
    encode_result,
    encode_tensors,
    take_job,
)

_OPEN_FILES = 4096


def main(find_store: FindStore = store_for) -> int:
    """Do the job on standard input; return the exit code.

    Args:
        find_store: How a reference becomes a store.
    """
    job, mode = take_job(sys.stdin.buffer.readline(MAX_LINE_BYTES))
    allow_open_files()
    try:
        result = _run(job, mode, find_store)
    except Interrupted:
        return EXIT_STOPPED
    except AgentError as error:
        _say(encode_error(named(error, job)))
        return EXIT_FAILED
    except OSError as error:
        from .disk import disk_error  # noqa: PLC0415  # hardly ever

        _say(encode_error(disk_error(error, job.cache_dir)))
        return EXIT_FAILED
    _say(encode_result(result))
    return 0


def _run(job: FetchJob, mode: Mode, find_store: FindStore) -> Result:
    bring = Bring(job, find_store, _tell, _tell_tensors)

    def stop(_number: int, _frame: object) -> None:
        if bring.stop() and bring.is_asking:
            raise Interrupted  # out of whatever it waits for

    for number in (signal.SIGTERM, signal.SIGINT):
        _ = signal.signal(number, stop)
    threading.Thread(target=_hear, args=(bring,), name="hear", daemon=True).start()
    match mode:
        case "list":
            return bring.sizes()
        case "look":
            return bring.look()
        case "fetch":
            return bring.run()


def _hear(bring: Bring) -> None:
    """Pass on what the agent says; its end is the end of the agent."""
    while said := os.read(sys.stdin.fileno(), MAX_LINE_BYTES):
        for limit in decode_limits(said):
            bring.limit(limit)
    main = threading.main_thread()
    if main.ident is not None and main.is_alive():
        signal.pthread_kill(main.ident, signal.SIGTERM)


def named(error: AgentError, job: FetchJob) -> AgentError:
    """The same error with the model's own name: a store knows only the reference."""
    if "model" in vars(error):
        vars(error)["model"] = job.model
    return error


def allow_open_files() -> None:
    """One file a shard is open at once, and some platforms allow 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _tell(phase: str, progress: Progress) -> None:
    _say(encode_progress(phase, progress))


def _tell_tensors(tensors: Tensors) -> None:
    _say(encode_tensors(tensors))


def _say(line: bytes) -> None:
    try:
        _ = sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        pass  # the agent is gone, which standard input tells, too


if __name__ == "__main__":
    sys.exit(main())
