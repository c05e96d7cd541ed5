"""How every verb tells its caller how it went."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; a code is never given another meaning."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_RUNNING = 3
    NOT_SERVING = 4
    REFUSED = 5
    UNVERIFIED = 6
    CONFIG = 78
    INTERRUPTED = 130


MEANINGS: tuple[tuple[Exit, str], ...] = (
    (Exit.OK, "done; status: the agent serves"),
    (Exit.FAILURE, "it failed, and said why"),
    (Exit.USAGE, "the command line was not understood"),
    (Exit.NOT_RUNNING, "no agent answers"),
    (Exit.NOT_SERVING, "it runs, but does not serve (status), or not that model (why)"),
    (Exit.REFUSED, "the agent refused the order; nothing was changed"),
    (Exit.UNVERIFIED, "all of it is here, but nobody had promised what its bytes are"),
    (Exit.CONFIG, "the configuration or the token cannot be used"),
    (Exit.INTERRUPTED, "interrupted from the keyboard"),
)
"""One line a code, as ``--help`` prints them."""
