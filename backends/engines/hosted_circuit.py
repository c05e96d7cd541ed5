"""When to leave a provider alone that refuses again and again (pure).

Refusals of a key or of an account do not go away by asking more often, and providers answer
insistence with longer bans. So after a few in a row nothing is asked for a while; then one
request is let through, and what becomes of it decides.
"""

from typing import Literal

STRIKES = 3
FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 600.0

State = Literal["closed", "open", "trying"]


class Circuit:
    """One account's standing with its provider; times are seconds of one clock."""

    def __init__(self) -> None:
        self._strikes = 0
        self._pause_s = FIRST_PAUSE_S
        self._until_s: float | None = None
        self._is_trying = False

    def state(self) -> State:
        """``closed``: requests pass; ``open``: none does; ``trying``: one is under way."""
        if self._until_s is None:
            return "closed"
        return "trying" if self._is_trying else "open"

    def wait_s(self, now_s: float) -> float | None:
        """Ask to pass; whoever passes has to tell what came of it.

        Returns:
            ``None`` if the request may pass; otherwise seconds until it is worth asking again.
        """
        if self._until_s is None:
            return None
        if self._is_trying:
            return FIRST_PAUSE_S
        if now_s < self._until_s:
            return self._until_s - now_s
        self._is_trying = True
        return None

    def passed(self) -> None:
        """The provider answered: everything is forgiven."""
        self._strikes, self._until_s, self._pause_s = 0, None, FIRST_PAUSE_S
        self._is_trying = False

    def struck(self, now_s: float, *, retry_after_s: float | None = None) -> None:
        """The provider refused this account.

        Of what was under way when it opened, no refusal makes the pause longer: that is one
        finding, however often it comes.

        Args:
            now_s: Now.
            retry_after_s: What the provider asks for; a longer wait than ours is kept, up to
                our longest.
        """
        self._strikes += 1
        if self._until_s is None:
            if self._strikes < STRIKES:
                return
        elif not self._is_trying and now_s < self._until_s:
            return
        pause_s = min(max(self._pause_s, retry_after_s or 0.0), LONGEST_PAUSE_S)
        self._until_s, self._is_trying = now_s + pause_s, False
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    def undecided(self) -> None:
        """What came of it says nothing of the account: the next one may try."""
        self._is_trying = False
