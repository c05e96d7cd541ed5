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
        total: How many there were.
    """

    def __init__(self) -> None:
        self.total = 0
        self._by_reason: dict[str, int] = {}
        self._last: tuple[str, AgentError, float] | None = None
        self._in_a_row = 0

    @property
    def last(self) -> Refusal | None:
        """The latest one."""
        if self._last is None:
            return None
        model, error, at_s = self._last
        return Refusal(model, error, self._in_a_row, at_s)

    @property
    def by_reason(self) -> Mapping[str, int]:
        """How many there were of each code."""
        return MappingProxyType(self._by_reason)

    def note(self, model: str, error: AgentError, now_s: float) -> None:
        """Count one."""
        self.total += 1
        code, last = error.code, self._last
        self._by_reason[code] = self._by_reason.get(code, 0) + 1
        is_again = last is not None and last[0] == model and last[1].code == code
        self._in_a_row = self._in_a_row + 1 if is_again else 1
        self._last = model, error, now_s
