"""What failed lately, for the status: the wire carries state, the owner wants the history, too."""

from ...config.errors import AgentError

KEPT = 8
"""How many failures are remembered."""


class Failed:
    """The latest failures of weights, engines, state files and loads.

    Attributes:
        recent: When, in the node's time, and what; the latest last.
    """

    def __init__(self) -> None:
        self.recent: tuple[tuple[float, AgentError], ...] = ()

    def note(self, error: AgentError | None, now_s: float) -> None:
        """Remember a failure, if there was one."""
        if error is not None:
            self.recent = (*self.recent, (now_s, error))[-KEPT:]
