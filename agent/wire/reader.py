"""Reads frames, and the same short command only once (pure).

A storm is the same few texts a thousand times, and reading one costs more than all else that is
done with it. What comes out of a text never changes, so whoever says it again gets the same value.
"""

from .codec import decode
from .inbound import Inbound, LoadModel

MOST_KEPT = 256
"""Texts; beyond, all are forgotten and what comes again is read again."""

LONGEST_BYTES = 256
"""Of a text that is kept: so the bounds are 64 KiB for each line, and a little more."""


class Reader:
    """What was read on one line, as far as it is worth keeping."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, LoadModel] = {}

    def read(self, frame: bytes) -> Inbound:
        """Read one frame as :func:`.codec.decode` does; never raises."""
        known = self._known.get(frame)
        if known is not None:
            return known
        message = decode(frame)
        if isinstance(message, LoadModel) and len(frame) <= LONGEST_BYTES:
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            self._known[frame] = message
        return message
