"""Which chunk a connection takes next (pure): it stays with its file as long as there is work.

A file's bytes have to be digested in file order. Whoever brings one chunk after the other of the
same file digests each piece out of the buffer that it came in, and nobody waits for the lock that
the kernel holds while a file is written to. So connections spread over the files, and share one
only when there are too few.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from .plan import Chunk


class Turns:
    """The chunks that are still to come; the caller serialises access.

    Args:
        queues: Of each file, in file order; empty ones are left out.
    """

    def __init__(self, queues: Iterable[Sequence[Chunk]]) -> None:
        self._fresh = deque(deque(queue) for queue in queues if queue)
        self._begun: dict[int, deque[Chunk]] = {}
        self._at_it: dict[int, int] = {}
        self._left = sum(map(len, self._fresh))

    def __len__(self) -> int:
        """How many chunks are left."""
        return self._left

    def next(self, last: int | None) -> Chunk | None:
        """The chunk to bring now; ``None`` if all are taken.

        Args:
            last: The file that the asking connection worked at until now; ``None`` if at none.
        """
        queue = self._begun.get(last) if last is not None else None
        if queue is None and self._fresh:
            queue = self._fresh.popleft()
            self._begun[queue[0].file] = queue
        if queue is None and self._begun:
            queue = self._begun[min(self._begun, key=lambda file: self._at_it.get(file, 0))]
        if queue is None:
            return None
        chunk = queue.popleft()
        self._left -= 1
        self._at_it[chunk.file] = self._at_it.get(chunk.file, 0) + 1
        if not queue:
            del self._begun[chunk.file]
        return chunk

    def again(self, chunks: Sequence[Chunk]) -> None:
        """Put chunks of one file back that have to come once more; they are in file order."""
        if not chunks:
            return
        file = chunks[0].file
        waiting = self._begun.setdefault(file, deque())
        self._begun[file] = deque(sorted([*chunks, *waiting], key=lambda chunk: chunk.start))
        self._left += len(chunks)

    def done(self, chunk: Chunk) -> None:
        """Say that nobody works at this chunk any more, whatever came of it."""
        count = self._at_it.pop(chunk.file, 0) - 1
        if count > 0:
            self._at_it[chunk.file] = count
