"""What finished answers leave behind, so that a chat that goes on is not read again (pure).

Off unless the operator gives it room: how soon an answer begins tells whoever asks whether
somebody has asked the like before.
"""

from array import array
from collections.abc import Callable, Sequence

from ...config.frozen import frozen

Layers = list[object]
"""Keys and values of one row, as the engine's library has them."""

Shortened = Callable[[Layers, int], Layers | None]
"""A copy without its last so many tokens; ``None`` if it cannot be shortened."""

_KEY_TYPE = "I"


@frozen
class _Entry:
    key: bytes
    tokens: int
    layers: Layers
    held_bytes: int


class Kept:
    """Rows of finished answers; when there are too many, the longest unused goes.

    Args:
        most_bytes: Never more is held; 0: nothing is kept.
        shortened: How the library shortens a row.
    """

    def __init__(self, *, most_bytes: int, shortened: Shortened) -> None:
        self._most_bytes = most_bytes
        self._shortened = shortened
        self._entries: list[_Entry] = []
        self.held_bytes = 0

    def find(self, tokens: Sequence[int]) -> tuple[int, Layers | None]:
        """The longest beginning of a prompt that is known, as a copy.

        Args:
            tokens: The prompt, 1 or more.

        Returns:
            How many of its tokens need not be read, always fewer than it has, and what they
            left behind; 0 and ``None`` if nothing is known.
        """
        if not self._entries:
            return 0, None
        # the last token is always read: from it the first word of the answer is drawn
        key = _key(tokens[:-1])
        known = [(_common(entry.key, key), entry) for entry in self._entries]
        for common, entry in sorted(known, key=lambda pair: pair[0], reverse=True):
            if common == 0:
                break
            layers = self._shortened(entry.layers, entry.tokens - common)
            if layers is not None:
                self._entries.remove(entry)
                self._entries.append(entry)
                return common, layers
        return 0, None

    def keep(self, tokens: Sequence[int], layers: Layers, held_bytes: int) -> None:
        """Keep what an answer leaves behind, unless it alone is too much.

        Args:
            tokens: Prompt and answer, as far as the layers hold them.
            layers: The row's own.
            held_bytes: What they take.
        """
        if not tokens or held_bytes > self._most_bytes:
            return
        key = _key(tokens)
        for entry in [entry for entry in self._entries if key.startswith(entry.key)]:
            self._drop(entry)
        self._entries.append(_Entry(key, len(tokens), layers, held_bytes))
        self.held_bytes += held_bytes
        while self.held_bytes > self._most_bytes:
            self._drop(self._entries[0])

    def _drop(self, entry: _Entry) -> None:
        self._entries.remove(entry)
        self.held_bytes -= entry.held_bytes


def _key(tokens: Sequence[int]) -> bytes:
    return array(_KEY_TYPE, tokens).tobytes()


def _common(one: bytes, other: bytes) -> int:
    """How many tokens two keys have in common from their beginning."""
    width = array(_KEY_TYPE).itemsize
    low, high = 0, min(len(one), len(other)) // width
    while low < high:
        middle = (low + high + 1) // 2
        if one[: middle * width] == other[: middle * width]:
            low = middle
        else:
            high = middle - 1
    return low
