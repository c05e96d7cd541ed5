"""How fast a child decodes and reads prompts, as moving averages (pure)."""

ALPHA = 0.3
"""Weight of the newest window. Source: ours; a change shows within three windows."""

WINDOW_STEPS = 16

LONG_PROBE_TOKENS = 64
"""Prompt and answer of the trial that tells how fast a quick model reads."""

MOMENT_S = 0.5
"""So long a load may take longer for a better figure."""


class Pace:
    """Times of steps in, tokens per second out; both ``None`` until something was measured."""

    def __init__(self) -> None:
        self.decode_tps: float | None = None
        self.prefill_tps: float | None = None
        self._last_s: float | None = None
        self._steps = 0
        self._took_s = 0.0

    def stepped(self, now_s: float) -> None:
        """A decode step ended: each stream got one token."""
        if self._last_s is not None:
            self._steps += 1
            self._took_s += now_s - self._last_s
        self._last_s = now_s
        if self._steps >= WINDOW_STEPS and self._took_s > 0:
            self.decode_tps = _moved(self.decode_tps, self._steps / self._took_s)
            self._steps, self._took_s = 0, 0.0

    def pause(self) -> None:
        """Nothing is decoded now: the time until the next step tells nothing."""
        self._last_s = None

    def is_quick_to_read(self, prompt_tokens: int) -> bool:
        """Whether so long a prompt would be read in a moment, at the pace measured so far.

        Only then a longer one is timed, too: it tells more, but nobody shall wait seconds for a
        figure while a model is loaded.
        """
        return self.prefill_tps is not None and prompt_tokens < self.prefill_tps * MOMENT_S

    def decoded(self, tokens: int, took_s: float) -> None:
        """So many tokens of one stream came after its first, in so many seconds."""
        if tokens > 0 and took_s > 0:
            self.decode_tps = _moved(self.decode_tps, tokens / took_s)

    def prefilled(self, prompt_tokens: int, took_s: float) -> None:
        """A prompt was read, first token included."""
        if took_s > 0:
            self.prefill_tps = _moved(self.prefill_tps, prompt_tokens / took_s)


def _moved(before: float | None, now: float) -> float:
    return now if before is None else before + ALPHA * (now - before)
