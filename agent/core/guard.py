"""What keeps a machine from spending its time on loading.

A bucket of loads that fills slowly, a pause for a model that fails again and again, and how long
each model's last load took. Whoever is refused here hears that the slots are active: a
coordinator comes back later, and looks elsewhere meanwhile.
"""

from ...config.frozen import frozen
from ...config.settings import Slots

BUCKET_HOURS = 4
"""The bucket holds the loads of so many hours: a machine may be tried out, but not for long."""

FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
PATIENT_FAILURES = 1
"""After so many failures in a row a model pauses: each further one doubles the pause."""

HOUR_S = 3600.0


@frozen
class _Failed:
    """A model whose last loads failed."""

    times: int
    until_s: float


class Guard:
    """Counts loads; the only one that does."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._at_s: float | None = None
        self._failed: dict[str, _Failed] = {}

    def objection(self, model: str, slots: Slots, now_s: float) -> str | None:
        """Why no load of the model may begin now, for its owner; ``None`` if one may."""
        failed = self._failed.get(model)
        if failed is not None and now_s < failed.until_s:
            left_s = failed.until_s - now_s
            return f"its last {failed.times} loads failed; it may be loaded again in {left_s:.0f} s"
        wait_s = self.full_again_s(slots, now_s)
        if wait_s > 0.0:
            most = f"slots.max_loads_per_h is {slots.max_loads_per_h}"
            return (
                f"too much was loaded of late ({most}); the next load may begin in {wait_s:.0f} s"
            )
        return None

    def full_again_s(self, slots: Slots, now_s: float) -> float:
        """How long until one more load of any model may begin, in seconds; 0 if one may now."""
        self._refill(slots, now_s)
        short = self._spent + 1.0 - self._most(slots)
        return max(0.0, short / _rate(slots))

    def began(self, slots: Slots, now_s: float) -> None:
        """A load has begun, whoever let it."""
        self._refill(slots, now_s)
        self._spent += 1.0

    def ended(self, model: str, *, took_s: float | None, now_s: float) -> None:
        """A load has ended; ``took_s`` is ``None`` if it failed."""
        if took_s is not None:
            self._failed.pop(model, None)
            return
        times = self._failed[model].times + 1 if model in self._failed else 1
        doublings = min(times - PATIENT_FAILURES - 1, 16)
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**doublings) if doublings >= 0 else 0.0
        self._failed[model] = _Failed(times, now_s + pause_s)

    def _refill(self, slots: Slots, now_s: float) -> None:
        before_s, self._at_s = self._at_s, now_s
        if before_s is not None:
            self._spent = max(0.0, self._spent - max(0.0, now_s - before_s) * _rate(slots))

    def _most(self, slots: Slots) -> float:
        return float(BUCKET_HOURS * slots.max_loads_per_h * slots.max_model_slots)


def _rate(slots: Slots) -> float:
    """Loads that come into the bucket a second."""
    return slots.max_loads_per_h * slots.max_model_slots / HOUR_S
