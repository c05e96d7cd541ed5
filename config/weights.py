"""How bytes come here: the table ``[weights]``; light enough for the fetching child."""

from typing import Annotated

from .rules import Bound
from .section import Section

Seconds = Annotated[float, Bound(gt=0)]


class Weights(Section):
    """``[weights]``: how bytes come here.

    Attributes:
        connections: Connections that a fetch begins with, once a few are seen to wait for the link;
            of small files, so many for each 2 MiB.
        max_connections: The most that it may find worth having.
        chunk_bytes: One ranged read.
        stall_timeout_s: A connection that brings nothing for so long is given up.
        no_progress_s: A store that brings nothing at all for so long is given up; one that is
            back before costs only the time.
        max_bytes_per_s: What one fetch may bring a second; unset: as much as comes.
        overlap: Begin to load a model while it is still arriving, where it would fit into memory
            twice and no other model is loaded; it answers only once every digest is right.
        require_manifest: Refuse builds whose store has no manifest with digests.
        sync_first: Wait until a model is on the platter before it is called whole. Else it is put
            there afterwards, and if the machine loses its power before, every byte of it is read
            again and held to its digest at the next use.
    """

    connections: Annotated[int, Bound(ge=1, le=64)] = 8
    max_connections: Annotated[int, Bound(ge=1, le=64)] = 64
    chunk_bytes: Annotated[int, Bound(ge=2**16, le=2**28)] = 16 * 2**20
    stall_timeout_s: Seconds = 20.0
    no_progress_s: Annotated[float, Bound(ge=0, le=86400)] = 60.0
    max_bytes_per_s: Annotated[int, Bound(ge=1)] | None = None
    overlap: bool = True
    require_manifest: bool = False
    sync_first: bool = False
