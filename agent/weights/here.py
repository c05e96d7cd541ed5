"""A fetch in this process, for a program that does nothing else.

The agent has a child for it, so that bytes never share a loop with requests. Whoever types a
command has started a process already: a second one would only start later. Interrupted or
killed, it leaves what the child would leave.
"""

from collections.abc import Callable

from ...backends.stores.base import Progress
from ...backends.stores.catalog import store_for
from ...config.errors import AgentError
from ...config.frozen import replace
from .bring import Bring, FindStore
from .fetcher import allow_open_files, named
from .lines import FetchJob, Result


def bring_here(
    job: FetchJob,
    *,
    told: Callable[[Progress], None],
    room: Callable[[int], None] = lambda _: None,
    find_store: FindStore = store_for,
) -> Result:
    """Do what the child does, in the main thread.

    Args:
        job: What to bring.
        told: Hears of progress, at most four times a second.
        room: Told how many bytes are about to come, before anything is written; may refuse.
        find_store: How a reference becomes a store.

    Raises:
        AgentError: The leaf says what went wrong.
        OSError: The folder cannot be written to.
    """
    allow_open_files()

    def tell(phase: str, progress: Progress) -> None:
        told(replace(progress, phase=phase))

    try:
        return Bring(job, find_store, tell, room=room).run()
    except AgentError as error:
        _ = named(error, job)
        raise
