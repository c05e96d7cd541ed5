"""By what a request is known: the line it came on, and its id there."""

from ...config.frozen import frozen

LOCAL = 0
"""The line that is none: its requests come from programs on this machine."""


@frozen
class RequestKey:
    """One request on one line: ids mean nothing beyond the socket they came on.

    Attributes:
        line: Number of the line, counted from 1; ``LOCAL`` for this machine's own programs.
        id: The coordinator's request id, or one of ours.
    """

    line: int
    id: str
