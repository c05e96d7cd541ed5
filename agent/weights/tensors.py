"""Which tensors of a build that is still arriving could be read already.

A loader may read a tensor from a file under ``.partial`` as soon as all blocks that it touches
are written. That is before the file's digest is known: what was read so is provisional, and
counts only once the build is published. A file whose header has not been checked tells none.
"""

from collections import deque
from collections.abc import Collection, Sequence

from .headers import PREFIX_BYTES, HeaderInvalid, tensor_spans
from .lines import Tensors
from .parts import Part
from .plan import Grid

MOST_NAMES = 500
"""Names in one telling, so that a line stays a line."""


class Arriving:
    """The build's safetensors files, and how far each is told.

    Args:
        parts: Its files, whole or not.
        grid: How they are cut.
    """

    def __init__(self, parts: Sequence[Part], grid: Grid) -> None:
        self._parts = parts
        self._grid = grid
        self._pending: dict[int, deque[tuple[str, range]] | None] = {
            index: None
            for index, part in enumerate(parts)
            if part.target.remote.path.endswith(".safetensors") and not part.target.is_plain
        }

    def look(self, forgotten: Collection[int] = ()) -> list[Tensors]:
        """What can be told since the last time.

        Args:
            forgotten: Files whose bytes are not believed any more.
        """
        told: list[Tensors] = []
        for index in set(forgotten) & self._pending.keys():
            self._pending[index] = None
            told.append(Tensors(self._parts[index].target.remote.path, is_forgotten=True))
        for index in self._pending:
            told += self._news(index)
        return told

    def _news(self, index: int) -> list[Tensors]:
        part = self._parts[index]
        pending = self._pending[index]
        if pending is None:
            pending = self._pending[index] = self._opened(part)
        names: list[str] = []
        while pending and self._is_here(part, pending[0][1]):
            names.append(pending.popleft()[0])
        path = part.target.remote.path
        return [
            Tensors(path, tuple(names[at : at + MOST_NAMES]))
            for at in range(0, len(names), MOST_NAMES)
        ]

    def _opened(self, part: Part) -> deque[tuple[str, range]] | None:
        """The file's tensors, once its header is here and was checked."""
        if not self._is_here(part, range(min(PREFIX_BYTES, part.size_bytes))):
            return None
        place = part.path if part.seal is None else part.final
        try:
            with place.open("rb") as file:
                length = int.from_bytes(file.read(PREFIX_BYTES), "little")
                if not self._is_here(part, range(min(PREFIX_BYTES + length, part.size_bytes))):
                    return None
                _ = file.seek(0)
                spans = tensor_spans(file, size_bytes=part.size_bytes)
        except (OSError, HeaderInvalid):
            return deque()  # whoever looks into whole files says so, with a code
        return deque(spans.items())

    def _is_here(self, part: Part, span: range) -> bool:
        if part.seal is not None or not span:
            return True
        first, last = span[0] // self._grid.block_bytes, span[-1] // self._grid.block_bytes
        return part.have.find(0, first, last + 1) < 0
