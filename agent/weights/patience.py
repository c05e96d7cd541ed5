"""How often, and for how long, one read is tried again (pure).

A store that is down for half a minute in the middle of a download must not cost the load, and
one that is down for good must not hold it for ever. So a read is given up only when both are
spent: its tries, and the time that may pass without a block of its bytes. Where that time is
long, tries that stand still until their own time-out need not be as many.
"""

TRIES = 8
_FEWEST_TRIES = 3
_LONG_S = 20.0
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0
_LONGEST_ASKED_S = 60.0
"""And where time decides, no longer than what is left of it: a store may ask for a day."""


class Patience:
    """What one read may still cost.

    Args:
        no_progress_s: Seconds without progress in which it is not given up.
        block_bytes: So many bytes are progress, and make good for every try before.
        now_s: Of any clock that only goes forward.

    Attributes:
        tries: How often it was begun since it last had a block together.
    """

    def __init__(self, *, no_progress_s: float, block_bytes: int, now_s: float) -> None:
        self.tries = 0
        self._no_progress_s = no_progress_s
        self._block_bytes = block_bytes
        self._got_bytes = 0
        self._since_s = now_s

    def wait_s(
        self, *, got_bytes: int, asked_s: float | None, now_s: float, chance: float
    ) -> float | None:
        """A try has failed for a moment: how long to wait before the next.

        Args:
            got_bytes: What it had brought by then.
            asked_s: What the store asked for; ``None`` if it did not say.
            now_s: Of the same clock.
            chance: In [0, 1).

        Returns:
            Seconds, half of them by chance; ``None``: it is given up.
        """
        self._got_bytes += got_bytes
        if self._got_bytes >= self._block_bytes:
            # a store that goes on bringing bytes is not given up for dropping the line
            self.tries, self._since_s, self._got_bytes = 1, now_s, 0
        else:
            self.tries += 1
        is_long = self._no_progress_s >= _LONG_S
        left_s = self._since_s + self._no_progress_s - now_s
        if self.tries >= (_FEWEST_TRIES if is_long else TRIES) and left_s <= 0:
            return None
        longest_s = min(_FIRST_WAIT_S * 2 ** (min(self.tries, TRIES) - 1), _LONGEST_WAIT_S)
        most_s = min(_LONGEST_ASKED_S, left_s) if is_long else _LONGEST_ASKED_S
        return max(longest_s * (0.5 + chance / 2), min(asked_s or 0.0, most_s))
