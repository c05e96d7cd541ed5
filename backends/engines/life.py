"""An engine's way from its start to its end, and the watch over its signs of life."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from .errors import EngineError, EngineNotRunning, EngineTimeout

_LOOKS_PER_STALL = 4


class _Phase(Enum):
    NEW = auto()
    LOADING = auto()
    RUNNING = auto()
    ENDED = auto()
    STOPPED = auto()


class Life:
    """Where an engine stands. It ends once: unasked, or because it was stopped.

    Args:
        engine: The adapter's name, for messages.
        ended: Told once if it ended unasked, while it loaded or ran.

    Attributes:
        error: What is to be said to whoever asks it something now, unless it runs.
        death: What it ended of unasked; a stop that follows changes nothing about that.
        is_over: Set when it has ended, one way or the other.
    """

    def __init__(self, engine: str, *, ended: Callable[[EngineError], None]) -> None:
        self._engine = engine
        self._tell = ended
        self._phase = _Phase.NEW
        self._look: asyncio.TimerHandle | None = None
        self._heard_s = 0.0
        self.error: EngineError = EngineNotRunning(engine=engine)
        self.death: EngineError | None = None
        self.is_over = asyncio.Event()

    @property
    def is_new(self) -> bool:
        """Whether nothing was started yet."""
        return self._phase is _Phase.NEW

    @property
    def is_loading(self) -> bool:
        """Whether it was started and is not ready."""
        return self._phase is _Phase.LOADING

    @property
    def is_running(self) -> bool:
        """Whether it answers."""
        return self._phase is _Phase.RUNNING

    def begin(self) -> None:
        """It is started."""
        self._phase = _Phase.LOADING

    def run(self) -> None:
        """It answers from now on."""
        self._phase = _Phase.RUNNING

    def fail(self, error: EngineError) -> EngineError:
        """Its start is given up, as its owner shall hear; whoever stops it is still to come."""
        self.error = error
        return error

    def end(self, error: EngineError) -> None:
        """It has ended unasked; nothing if it was not there, or had ended."""
        if not (self.is_loading or self.is_running):
            return
        self._phase = _Phase.ENDED
        self.error = self.death = error
        self._over()
        self._tell(error)

    def stop(self) -> None:
        """It is to leave."""
        self._phase = _Phase.STOPPED
        self.error = EngineNotRunning(engine=self._engine)
        self._over()

    def heard(self, now_s: float) -> None:
        """It gave a sign of life, or none is to be expected before this moment."""
        self._heard_s = now_s

    def watch(self, stall_s: float, *, is_due: Callable[[], bool]) -> None:
        """Look again and again whether it gives signs of life, and end it if it does not.

        A look that comes late itself says that this process slept, and so did the other.

        Args:
            stall_s: Seconds without a sign of life that are too many.
            is_due: Whether one may be expected now.
        """
        loop = asyncio.get_running_loop()
        every_s = stall_s / _LOOKS_PER_STALL
        due_s = loop.time() + every_s

        def look() -> None:
            now_s = loop.time()
            if now_s - due_s > every_s or not is_due():
                self._heard_s = now_s
            if now_s - self._heard_s >= stall_s:
                self.end(EngineTimeout(engine=self._engine, waited_s=now_s - self._heard_s))
            else:
                self.watch(stall_s, is_due=is_due)

        self._look = loop.call_at(due_s, look)

    def _over(self) -> None:
        if self._look is not None:
            self._look.cancel()
        self.is_over.set()
