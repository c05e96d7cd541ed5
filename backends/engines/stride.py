"""How much of a prompt is read between two decode steps, by how long that took (pure)."""

LEAST_TOKENS = 16
FIRST_TOKENS = 64
"""Begun with: small enough for a processor, and twice doubled it is what boards like."""


class Stride:
    """Prompt tokens to read at once, so that running answers pause no longer than is wanted.

    Args:
        most_tokens: Never more; so many while nothing is decoded.
        pause_s: What reading may add to the time from one token to the next.
    """

    def __init__(self, *, most_tokens: int, pause_s: float) -> None:
        self._most_tokens = most_tokens
        self._pause_s = pause_s
        self._tokens = min(FIRST_TOKENS, most_tokens)
        self._decode_s = 0.0
        self._is_alone = True

    @property
    def tokens(self) -> int:
        """How many to read in the next step, of each prompt."""
        return self._most_tokens if self._is_alone else self._tokens

    def stepped(self, took_s: float, *, read_tokens: int, decoded: int, ended: int = 0) -> None:
        """A step is over.

        Args:
            took_s: Seconds of it.
            read_tokens: Of the prompt of which it read most; 0: it read none.
            decoded: Rows that got a token.
            ended: How many of these got their last.
        """
        was_alone, self._is_alone = self._is_alone, decoded == ended
        if decoded and not read_tokens:
            self._decode_s = took_s
        if not decoded or not read_tokens or was_alone:
            return
        added_s = max(took_s - self._decode_s, 1e-6)
        fitting = int(read_tokens * self._pause_s / added_s)
        if fitting < self._tokens:
            self._tokens = max(LEAST_TOKENS, fitting)
        elif read_tokens >= self._tokens:
            # the last piece of a prompt may be a short one: it tells nothing of a long one
            self._tokens = min(self._most_tokens, fitting, 2 * self._tokens)
