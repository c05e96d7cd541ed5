"""How long to wait before the next dial.

Full jitter from the first retry: a fleet that was dropped together does not come back
together. Never zero: a coordinator that accepts and drops at once is still spared.
"""

from ...config.frozen import frozen

GOING_AWAY = frozenset({1001, 1012, 1013})
"""Close codes of a server that leaves, restarts or is overloaded (RFC 6455, 7.4)."""

REFUSED = 1008
"""Close code of a peer that does not want this node (RFC 6455, 7.4.1)."""


@frozen
class Backoff:
    """How dials are spaced.

    Attributes:
        floor_s: No wait is shorter.
        first_s: Longest wait after the first failure; it doubles with each further one.
        ceiling_s: Longest wait of all.
        spread_s: After a going-away close the wait is anywhere below this.
        refused_s: After a refusal the wait is this at least, and at most twice this.
    """

    floor_s: float = 0.1
    first_s: float = 1.0
    ceiling_s: float = 30.0
    spread_s: float = 30.0
    refused_s: float = 30.0

    def wait_s(self, failures: int, chance: float, *, close_code: int = 1006) -> float:
        """Seconds to wait.

        Args:
            failures: Failures in a row, 1 or more.
            chance: A number in [0, 1).
            close_code: What the last line ended with.
        """
        if close_code == REFUSED:
            return self.refused_s * (1.0 + chance)
        if close_code in GOING_AWAY:
            return max(self.floor_s, chance * self.spread_s)
        doublings = min(failures - 1, 32)
        longest = min(self.ceiling_s, self.first_s * 2.0**doublings)
        return max(self.floor_s, chance * longest)
