"""What this node refused, counted for its owner's eyes."""

from collections.abc import Mapping
from types import MappingProxyType

from ...config.errors import AgentError
from ...config.frozen import frozen


@frozen
class Refusal:
    """A load that this node refused.

    Attributes:
        count: How often the same was refused in a row.
        at_s: When last, in the node's time.
    """

    model: str
    error: AgentError
    count: int
    at_s: float


class Refused:
    """Counts refusals; the only one that does.

    Attributes:
        last: The latest one.
        total: How many there were.
    """

    def __init__(self) -> None:
        self.last: Refusal | None = None
        self.total = 0
        self._by_reason: dict[str, int] = {}

    @property
    def by_reason(self) -> Mapping[str, int]:
        """How many there were of each code."""
        return MappingProxyType(self._by_reason)

    def note(self, model: str, error: AgentError, now_s: float) -> None:
        """Count one."""
        self.total += 1
        self._by_reason[error.code] = self._by_reason.get(error.code, 0) + 1
        last = self.last
        again = last is not None and (last.model, last.error.code) == (model, error.code)
        self.last = Refusal(model, error, last.count + 1 if last and again else 1, now_s)
