"""What this line's coordinator was told that we offer, and what of it is no longer so.

The wire can add models and cannot withdraw one: that takes a new line.
"""

from ...config.change import diff
from ...config.settings import Settings
from ..wire.outbound import ModelsUpdate, Register
from ..wire.types import ModelInfo
from . import report


class Offer:
    """What was said on the line that stands.

    Args:
        settings: Those with which the next line is dialled.
    """

    def __init__(self, settings: Settings) -> None:
        self._told: dict[str, ModelInfo] = {}
        self._dialled = self._compared = settings
        self._has_new_words = False

    def dialled(self, settings: Settings) -> None:
        """A line is being opened with these settings."""
        self._dialled = self._compared = settings
        self._has_new_words = False

    def registered(self, who: Register) -> None:
        """The coordinator knows who we are."""
        self._told = {model.id: model for model in who.models}

    def lost(self) -> None:
        """The line is gone, and with it all that was said on it."""
        self._told = {}

    def news(self, node: report.Snapshot) -> list[ModelsUpdate]:
        """What of the offer is new to this line; at most one message.

        A build is news once it lies here verified: a coordinator that hears of an alias's
        desired build drops the previous one, so neither is named before it can be served,
        nor one without the other.
        """
        offer = report.models(node)
        added = [m for m in offer if m.id not in self._told and m.id not in node.awaited]
        here = [model for model in offer if model.weight_hash is not None]
        if not added and not any(self._told.get(model.id) != model for model in here):
            return []
        named = tuple(model for model in offer if model in here or model in added)
        self._told |= {model.id: model for model in named}
        return [ModelsUpdate(models=named)]

    def is_stale(self, settings: Settings, advertised: tuple[str, ...]) -> bool:
        """Whether only a new line can say how things are.

        A model is to be unsaid, or the operator changed whom to call, or by what name.
        """
        if settings is not self._compared:
            # asked after every event, and settings hardly ever change
            changed = diff(self._dialled, settings)
            words = [key for key in changed.keys if key.startswith(("coordinator.", "wire."))]
            self._compared = settings
            self._has_new_words = bool({*words} - {"coordinator.heartbeat_interval_s"})
        return self._has_new_words or not self._told.keys() <= set(advertised)
