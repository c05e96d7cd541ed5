"""The line to the coordinator, without the line.

It owns where the line stands and by when something must happen on it. Every line has a
number, so that a late word from a dead one is never taken for the living one. No state but
CLOSED waits for ever.

::

    DOWN ───due──▶ CONNECTING ──opened──▶ ONLINE ──leave──▶ LEAVING ──closed, due──▶ CLOSED
      ▲                 │                    │
      └───closed, due───┴──closed, gap───────┘
"""

from collections.abc import Callable
from enum import StrEnum

from ...config.errors import LinkError
from ...config.frozen import frozen
from .backoff import Backoff

GAP_S = 10.0
"""Between two looks at the clock lie two seconds at most. Longer than this, and the process
was suspended or the machine slept: the peer may have given the line up meanwhile."""


class State(StrEnum):
    """Where the line stands."""

    DOWN = "down"
    CONNECTING = "connecting"
    ONLINE = "online"
    LEAVING = "leaving"
    CLOSED = "closed"


@frozen
class Step:
    """What the session wants done; several at once, in this order.

    Attributes:
        hang_up: Number of a line to close, if any.
        is_polite: Whether that line gets a goodbye.
        dial: Number of a line to open, if any.
        is_registration_due: Say who we are, then how we are.
        is_heartbeat_due: Say how we are.
    """

    hang_up: int | None = None
    is_polite: bool = True
    dial: int | None = None
    is_registration_due: bool = False
    is_heartbeat_due: bool = False


NOTHING = Step()

_USUAL = Backoff()


class Session:
    """The state machine of the line.

    Args:
        chance: Gives numbers in [0, 1).
        heartbeat_s: Seconds between two heartbeats.
        patience_s: Seconds a dial or a goodbye may take to be answered.
        proven_s: A line that lived this long makes earlier failures forgotten.
    """

    def __init__(
        self,
        *,
        chance: Callable[[], float],
        heartbeat_s: float = 5.0,
        patience_s: float = 15.0,
        proven_s: float = 60.0,
        backoff: Backoff = _USUAL,
    ) -> None:
        self._chance = chance
        self.heartbeat_s = heartbeat_s
        self.patience_s = patience_s
        self._proven_s = proven_s
        self._backoff = backoff
        self._seen_s: float | None = None
        self.state = State.DOWN
        self.line = 0
        self.failures = 0
        self.since_s = 0.0
        self.last_error: LinkError | None = None
        self.deadline_s: float | None = 0.0

    @property
    def is_online(self) -> bool:
        """Whether something can be said now."""
        return self.state is State.ONLINE

    def is_moving(self, now_s: float) -> bool:
        """Whether what was due has been done: a watchdog's question, asked after each turn."""
        return self.deadline_s is None or now_s - self.deadline_s < GAP_S

    def opened(self, line: int, now_s: float) -> Step:
        """The line stands."""
        if self.state is not State.CONNECTING or line != self.line:
            return NOTHING
        self._enter(State.ONLINE, now_s, now_s + self.heartbeat_s)
        return Step(is_registration_due=True)

    def closed(self, line: int, close_code: int, error: LinkError, now_s: float) -> Step:
        """The line is gone, or did not come."""
        if line != self.line or self.state in {State.DOWN, State.CLOSED}:
            return NOTHING
        self.last_error = error
        if self.state is State.LEAVING:
            self._enter(State.CLOSED, now_s, None)
        else:
            self._retry(now_s, close_code)
        return NOTHING

    def woke(self, now_s: float) -> Step:
        """Look at the clock before anything else; at least every two seconds.

        After a gap nothing is known of the line, nor of why it was down: it is opened anew.
        """
        slept_s = now_s - self._seen_s if self._seen_s is not None else 0.0
        self._seen_s = now_s
        if slept_s <= GAP_S or self.state in {State.LEAVING, State.CLOSED}:
            return NOTHING
        return self._dial(now_s, hang_up=None if self.state is State.DOWN else self.line)

    def due(self, now_s: float) -> Step:
        """What the deadline asks for, if it has come."""
        if self.deadline_s is None or now_s < self.deadline_s:
            return NOTHING
        match self.state:
            case State.DOWN:
                return self._dial(now_s)
            case State.CONNECTING:
                line = self.line
                self._retry(now_s, close_code=1006)
                return Step(hang_up=line, is_polite=False)
            case State.ONLINE:
                # a fixed beat: a late look at the clock does not shift the later ones
                missed = (now_s - self.deadline_s) // self.heartbeat_s
                self.deadline_s += (missed + 1.0) * self.heartbeat_s
                if self.deadline_s <= now_s:  # a float's last digit
                    self.deadline_s = now_s + self.heartbeat_s
                return Step(is_heartbeat_due=True)
            case _:
                line = self.line
                self._enter(State.CLOSED, now_s, None)
                return Step(hang_up=line, is_polite=False)

    def redial(self, now_s: float) -> Step:
        """Give the line up politely and open another at once: there is something to unsay."""
        if self.state is not State.ONLINE:
            return NOTHING
        return self._dial(now_s, hang_up=self.line, is_polite=True)

    def leave(self, now_s: float) -> Step:
        """Say goodbye, for good."""
        match self.state:
            case State.CONNECTING | State.ONLINE:
                self._enter(State.LEAVING, now_s, now_s + self.patience_s)
                return Step(hang_up=self.line)
            case State.DOWN:
                self._enter(State.CLOSED, now_s, None)
                return NOTHING
            case _:
                return NOTHING

    def _dial(self, now_s: float, *, hang_up: int | None = None, is_polite: bool = False) -> Step:
        self.line += 1
        self._enter(State.CONNECTING, now_s, now_s + self.patience_s)
        return Step(hang_up=hang_up, is_polite=is_polite, dial=self.line)

    def _retry(self, now_s: float, close_code: int) -> None:
        lived_s = now_s - self.since_s if self.state is State.ONLINE else 0.0
        self.failures = 1 if lived_s >= self._proven_s else self.failures + 1
        wait_s = self._backoff.wait_s(self.failures, self._chance(), close_code=close_code)
        self._enter(State.DOWN, now_s, now_s + wait_s)

    def _enter(self, state: State, now_s: float, deadline_s: float | None) -> None:
        self.state = state
        self.since_s = now_s
        self.deadline_s = deadline_s
