"""Stop words in a text that comes in pieces (pure)."""

from collections.abc import Sequence


class Stops:
    """Lets text through up to the first stop word, wherever the text is cut.

    Args:
        words: None of them empty. The one that ends first counts; of two that end together, the
            longer.

    Attributes:
        is_met: A stop word came; nothing is let through any more.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(words)
        self._held: str = ""
        self.is_met = False

    def take(self, text: str) -> str:
        """What may be shown now: neither a stop word nor the beginning of one."""
        if self.is_met:
            return ""
        text = self._held + text
        found = [(at + len(word), at) for word in self._words if (at := text.find(word)) >= 0]
        if found:
            self.is_met = True
            self._held = ""
            return text[: min(found)[1]]
        kept = self._beginning_chars(text)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def rest(self) -> str:
        """What was held back, now that no more text comes."""
        held, self._held = self._held, ""
        return held

    def _beginning_chars(self, text: str) -> int:
        """Length of the longest end of ``text`` that begins a stop word."""
        most = min(len(text), max((len(word) - 1 for word in self._words), default=0))
        for length in range(most, 0, -1):
            if any(word.startswith(text[-length:]) for word in self._words):
                return length
        return 0
