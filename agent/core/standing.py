"""How this node stands with its coordinator, as far as that one says so.

Shown to the owner and to nobody else; none of it decides anything here.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...config.frozen import frozen
from ..wire.inbound import RuntimeStatus, TrustStatus, Unknown
from ..wire.later import DrainAck

if TYPE_CHECKING:
    from .breakers import Breakers, Pause
    from .requests import End


@frozen
class Seen:
    """What is known of the line that stands, at one moment.

    Attributes:
        trust: The coordinator's latest word on trust; ``None`` if it said none.
        runtime: What it objects to; ``None`` if it does not.
        challenged_s: When its latest challenge was answered, in the node's time.
        has_sent_work: Whether it has sent a request on this line.
        pauses: What it leaves alone, if it was left at its defaults; some may be over.
    """

    is_online: bool = False
    trust: TrustStatus | None = None
    runtime: RuntimeStatus | None = None
    challenged_s: float | None = None
    has_sent_work: bool = False
    pauses: "tuple[Pause, ...]" = ()

    @property
    def is_trusted(self) -> bool:
        """Whether it says that it trusts this machine's hardware."""
        return self.trust is not None and self.trust.trust_level == "hardware"


NOTHING_SEEN = Seen()


class Standing:
    """What the coordinator said and did on the line that stands.

    Attributes:
        trust: Its latest word on trust; ``None`` if it said none.
        runtime: What it objects to; ``None`` if it does not.
        unknown_frames: How many frames meant nothing to this version, over all lines.
    """

    def __init__(self) -> None:
        self.trust: TrustStatus | None = None
        self.runtime: RuntimeStatus | None = None
        self.unknown_frames = 0
        self._challenged_s: float | None = None
        self._has_sent_work = False
        self._barrier: str | None = None
        self._breakers: Breakers | None = None

    def heard(self, word: TrustStatus | RuntimeStatus | DrainAck | Unknown) -> None:
        """It said something of us, or something that we do not know."""
        if isinstance(word, DrainAck):
            self._settled(word.request_id)
        elif isinstance(word, TrustStatus):
            self.trust = word
        elif isinstance(word, RuntimeStatus):
            self.runtime = word
        else:
            self.unknown_frames += 1

    def challenged(self, now_s: float) -> None:
        """It made sure that we are there, and was answered."""
        self._challenged_s = now_s

    def sent_work(self) -> None:
        """It sent a request: whatever its gates are, we passed them."""
        self._has_sent_work = True

    def ended(self, ends: "Iterable[End]", now_s: float) -> None:
        """Requests of its line have ended, well or not: model, status and text of each."""
        for end in ends:
            if self._breakers is None:
                from .breakers import Breakers  # noqa: PLC0415  # not before the first request

                self._breakers = Breakers()
            self._breakers.ended(end, now_s)

    def barrier(self, request_id: str) -> None:
        """A barrier was sent: the coordinator answers it once all is settled."""
        self._barrier = request_id

    @property
    def is_unsettled(self) -> bool:
        """Whether a barrier was sent on this line and is not answered yet."""
        return self._barrier is not None

    def line_lost(self) -> None:
        """Another line is another beginning."""
        self._barrier = None
        self.trust = self.runtime = None
        self._challenged_s, self._has_sent_work = None, False
        self._breakers = None

    def _settled(self, request_id: str) -> None:
        """It answered a barrier; only the latest counts."""
        if request_id == self._barrier:
            self._barrier = None

    def seen(self, *, is_online: bool) -> Seen:
        """What is known now, as a value."""
        return Seen(
            is_online,
            self.trust,
            self.runtime,
            self._challenged_s,
            self._has_sent_work,
            () if self._breakers is None else self._breakers.pauses,
        )
