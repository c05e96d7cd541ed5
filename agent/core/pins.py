"""Which models make way for no other, and who said so: the configuration, or its operator since."""

from collections.abc import Iterable

from ...config.settings import Settings


class Pins:
    """Pins set at run time, beside those of the configuration; the only one that writes them."""

    def __init__(self) -> None:
        self._added: frozenset[str] = frozenset()

    @property
    def added(self) -> tuple[str, ...]:
        """What was pinned at run time, sorted."""
        return tuple(sorted(self._added))

    def of(self, settings: Settings) -> frozenset[str]:
        """Every pinned model that these settings offer."""
        if not self._added:
            return settings.pinned
        offered = frozenset(entry.id for entry in settings.models)
        return settings.pinned | (self._added & offered)

    def recalled(self, models: Iterable[str]) -> None:
        """What an earlier run was told still holds."""
        self._added |= frozenset(models)

    def add(self, model: str) -> None:
        """Pin a model."""
        self._added |= {model}

    def remove(self, model: str) -> None:
        """Take back a pin that was set at run time."""
        self._added -= {model}
