"""What this node says on its line: who it is, how it is, what is new, and what it owes.

Nothing is said twice and nothing is kept for a line that is gone, save one thing: how a load
ended that somebody asked for, which is told to the next line, once a model.
"""

from collections.abc import Iterable

from ...config.refusals import ModelNotReady
from ...config.settings import Settings
from ..wire.outbound import LoadModelStatus, Outbound
from . import report
from .effects import Dial, Effect, SampleHost, Send
from .offer import Offer
from .session import Session


class Voice:
    """Owner of what was said on this line, and of what is owed to the next one.

    Args:
        settings: Those with which the first line is dialled.
        session: Whether there is a line to say it on.
    """

    def __init__(self, settings: Settings, session: Session) -> None:
        self._session = session
        self._offer = Offer(settings)
        self._owed: dict[str, LoadModelStatus] = {}

    def dial(self, line: int, settings: Settings) -> list[Effect]:
        """Open a line; what it hears belongs to these settings."""
        self._offer.dialled(settings)
        return [Dial(line)]

    def greet(self, node: report.Snapshot) -> list[Effect]:
        """Register, say how things are, then pay what is owed."""
        who = report.register(node)
        self._offer.registered(who)
        effects = [*self.say(who), *self.beat(node)]
        return effects + [effect for status in self._settled(node) for effect in self.say(status)]

    def beat(self, node: report.Snapshot) -> list[Effect]:
        """A heartbeat whose time has come; the next one shall know the machine as it is."""
        return [*self.say(report.heartbeat(node)), SampleHost()]

    def news(self, node: report.Snapshot) -> Iterable[Outbound]:
        """What of the offer is new to this line."""
        return self._offer.news(node) if self._session.is_online else ()

    def is_stale(self, settings: Settings, advertised: tuple[str, ...]) -> bool:
        """Whether only a new line can say how things are."""
        return self._session.is_online and self._offer.is_stale(settings, advertised)

    def lost(self) -> None:
        """The line is gone, and with it all that was said on it."""
        self._offer.lost()

    def say(self, message: Outbound) -> list[Effect]:
        """Say it now; an answer that is owed for a load waits for the next line."""
        if self._session.is_online:
            return [Send(self._session.line, message)]
        if isinstance(message, LoadModelStatus) and message.status != "started":
            self._owed[message.model_id] = message
        return []

    def pass_on(self, send: Send) -> list[Effect]:
        """Say it if the line it is meant for still stands."""
        is_there = self._session.is_online and send.line == self._session.line
        return [send] if is_there else []

    def _settled(self, node: report.Snapshot) -> list[LoadModelStatus]:
        """The answers that are owed; what was loaded and is gone again has not succeeded."""
        owed, self._owed = self._owed, {}
        for model, status in owed.items():
            if status.status == "succeeded" and not node.answers(model):
                error = ModelNotReady(model=model, reason="gone again").load_text
                owed[model] = LoadModelStatus(model_id=model, status="failed", error=error)
        return list(owed.values())
