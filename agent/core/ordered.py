"""The operator's orders, as events; each is answered under the number that whoever asks makes up.

``orders`` carries them out; whatever else can happen is in ``events``.
"""

from typing import TypeAlias

from ...config.frozen import frozen


@frozen
class PoolSetAsked:
    """The operator wants this machine to serve a pool, at once or after what runs.

    Attributes:
        ask: Number under which ``TellOwner`` answers; whoever asks makes it up.
        pool: An alias, or a model's id.
        now: Whether requests of other models are ended rather than finished.
    """

    ask: int
    pool: str
    now: bool = False


@frozen
class PoolReleased:
    """The operator takes his choice of a pool back: the node chooses again."""

    ask: int


@frozen
class PinAsked:
    """The operator wants a model to make way for no other."""

    ask: int
    model: str


@frozen
class UnpinAsked:
    """The operator takes a pin back."""

    ask: int
    model: str


@frozen
class DrainAsked:
    """The operator wants what runs to be finished and nothing new to be taken, until undrained.

    Attributes:
        deadline_s: Answers that take longer are ended; ``None``: never.
    """

    ask: int
    deadline_s: float | None = None


@frozen
class UndrainAsked:
    """The operator wants work to be taken again."""

    ask: int


OrderEvent: TypeAlias = (
    PoolSetAsked | PoolReleased | PinAsked | UnpinAsked | DrainAsked | UndrainAsked
)
