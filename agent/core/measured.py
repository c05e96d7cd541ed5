"""What loads were found to take, against what was estimated: the next load is judged by it.

An estimate of a model that was never loaded here is made to err on the large side. Once its
engine has been measured, the estimate's overhead is what was found beside the weights, so that
a machine neither promises memory that it has not, nor refuses a model that it can hold. A build
with other weights is another model, and is measured anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from ...backends.engines.base import Load, Loaded
from ...config.frozen import frozen
from .admission import ModelNeeds

PEAK_STEP_PART = 16
"""A peak counts as a new one if it is larger by a sixteenth: a state file is not a diary."""

MOST_MODELS = 1024
"""Measurements of more models than this are not kept; the oldest goes first."""


@frozen
class Measured:
    """One model's last load here.

    Attributes:
        model: Its id.
        weights_bytes: All tensors; other weights make this of no use.
        estimated_bytes: What it was thought to take, with one request of full length.
        loaded_bytes: What its engine held once it was loaded; ``None`` if it cannot be measured.
        peak_bytes: The most that its engine ever held, with however many requests.
        took_s: How long the load took.
    """

    model: str
    weights_bytes: int
    estimated_bytes: int
    loaded_bytes: int | None
    peak_bytes: int | None
    took_s: float


class Measurements:
    """The last load of each model; the only one that keeps them."""

    def __init__(self) -> None:
        self._known: dict[str, Measured] = {}
        self._rate_bytes_s: float | None = None

    @property
    def known(self) -> Mapping[str, Measured]:
        """By model, the oldest first."""
        return MappingProxyType(self._known)

    def recalled(self, read: Iterable[Measured]) -> None:
        """What an earlier run has measured; what was measured since is newer."""
        self._known = {each.model: each for each in read} | self._known

    def loaded(self, model: str, needs: ModelNeeds, loaded: Loaded) -> None:
        """A load is over, and its engine was measured.

        Args:
            model: Its id.
            needs: As estimated before anything was measured.
            loaded: What was found.
        """
        before = self._known.pop(model, None)
        is_same = before is not None and before.weights_bytes == needs.weights_bytes
        self._known[model] = Measured(
            model,
            needs.weights_bytes,
            needs.total_bytes,
            loaded.memory_bytes,
            before.peak_bytes if before is not None and is_same else None,
            loaded.took_s,
        )
        while len(self._known) > MOST_MODELS:
            del self._known[next(iter(self._known))]

    def sampled(self, loads: Mapping[str, Load]) -> bool:
        """Engines were read.

        Returns:
            Whether one of them has held more than ever, by so much that it is worth keeping.
        """
        is_news = False
        for model, load in loads.items():
            before, peak_bytes = self._known.get(model), load.memory_peak_bytes
            if before is None or peak_bytes is None:
                continue
            known_bytes = before.peak_bytes or 0
            if peak_bytes > known_bytes + known_bytes // PEAK_STEP_PART:
                self._known[model] = replace(before, peak_bytes=peak_bytes)
                is_news = True
        return is_news

    def corrected(self, model: str, needs: ModelNeeds) -> ModelNeeds:
        """The estimate, with what was found beside the weights in place of what was guessed."""
        found = self._known.get(model)
        if found is None or found.loaded_bytes is None:
            return needs
        if found.weights_bytes != needs.weights_bytes:
            return needs
        # an engine may read its weights late: never less than they are
        beside_bytes = max(0, found.loaded_bytes - needs.weights_bytes)
        return replace(needs, overhead_bytes=beside_bytes)

    def fetched(self, rate_bytes_s: float | None) -> None:
        """A fetch was seen to run at this rate."""
        if rate_bytes_s:
            self._rate_bytes_s = rate_bytes_s

    def ready_in_s(self, model: str, missing_bytes: int) -> float | None:
        """How long a model takes from now to its first answer, as measured.

        Args:
            model: Its id.
            missing_bytes: What of it is not on disk.

        Returns:
            ``None`` if nothing that decides it was ever measured.
        """
        found = self._known.get(model)
        fetch_s = missing_bytes / self._rate_bytes_s if self._rate_bytes_s else 0.0
        if found is None and not fetch_s:
            return None
        return fetch_s + (found.took_s if found is not None else 0.0)
