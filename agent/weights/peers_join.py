"""Where a fetch finds out whether it has company: the one seam between a pull and its peers."""

from collections.abc import Callable, Sequence
from pathlib import Path

from .cache import SHARED_NAME
from .journal import Journal
from .lines import FetchJob
from .parts import Part
from .plan import Grid
from .pull import Pull
from .source import Source


def pull_for(
    job: FetchJob,
    folder: Path,
    source: Source,
    parts: Sequence[Part],
    journal: Journal,
    grid: Grid,
    *,
    ended: Callable[[], None],
) -> Pull:
    """The pull of a job, with the peers that there are; waits until each has been called.

    Args:
        job: What to bring; its peers are asked, if it names any.
        folder: The model's folder.
        source: How to reach the store.
        parts: The files.
        journal: Where arrivals are claimed.
        grid: How files are cut.
        ended: Called once from some thread, when all is done or something failed.

    Raises:
        SecretUnusable: The peers' key cannot be used.
    """
    promised = [part.target.sha256 for part in parts if part.target.sha256 is not None]
    if not job.peers.is_on or not promised:
        return Pull(source, parts, journal, grid, ended=ended)
    # only here: a fetch without peers needs none of it
    from .peers_company import Company  # noqa: PLC0415
    from .peers_node import key_of, own_node  # noqa: PLC0415
    from .peers_pull import PullTogether, Together  # noqa: PLC0415
    from .peers_shared import Sharing  # noqa: PLC0415

    key, is_copy = key_of(job.peers.key_file), job.alone is not None
    node = own_node(folder.parent) if job.peers.listen is not None and not is_copy else None
    sharing = None
    if node is not None:
        files = [
            (part.target.sha256 or "0" * 64, part.size_bytes, part.target.remote.path)
            for part in parts
        ]
        sharing = Sharing(folder / SHARED_NAME, files)
    company = Company(job.peers, key, node, {bytes.fromhex(sha256) for sha256 in promised})
    company.begin()
    return PullTogether(source, parts, journal, grid, Together(company, sharing), ended=ended)
