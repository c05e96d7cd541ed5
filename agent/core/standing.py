"""How this node stands with its coordinator, as far as that one says so.

Shown to the owner and to nobody else; none of it decides anything here.
"""

from ..wire.inbound import RuntimeStatus, TrustStatus, Unknown


class Standing:
    """What the coordinator said of this node on the line that stands.

    Attributes:
        trust: Its latest word on trust; ``None`` if it said none.
        runtime: What it objects to; ``None`` if it does not.
        unknown_frames: How many frames meant nothing to this version, over all lines.
    """

    def __init__(self) -> None:
        self.trust: TrustStatus | None = None
        self.runtime: RuntimeStatus | None = None
        self.unknown_frames = 0

    def heard(self, word: TrustStatus | RuntimeStatus | Unknown) -> None:
        """It said something of us, or something that we do not know."""
        if isinstance(word, TrustStatus):
            self.trust = word
        elif isinstance(word, RuntimeStatus):
            self.runtime = word
        else:
            self.unknown_frames += 1

    def line_lost(self) -> None:
        """Another line is another beginning."""
        self.trust = self.runtime = None
