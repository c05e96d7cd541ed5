"""What must be so after every event, whatever the event was.

It keeps books of its own, from events and effects alone, and never asks the node what it
believes: a node that forgets a request would otherwise forget it here too.
"""

from dataclasses import dataclass, field

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core.effects import Effect
from poolhand.agent.core.events import Event
from poolhand.agent.core.node import Node
from poolhand.agent.core.pool import is_allowed
from poolhand.agent.core.request_key import LOCAL, RequestKey
from poolhand.agent.core.slots import residents
from poolhand.agent.wire.codec import encode
from poolhand.agent.wire.inbound import InferenceRequest, LoadModel
from poolhand.agent.wire.outbound import (
    InferenceAccepted,
    InferenceComplete,
    InferenceError,
    LoadModelStatus,
    Outbound,
    Register,
)
from tests.wire.schema import faults


@dataclass
class Laws:
    """One node's books.

    Attributes:
        socket: Number of the line that was dialled and not given up; ``None`` if there is none.
        left: Number of the line that was hung up last; an impolite end may follow a polite one.
        is_open: Whether that line was opened.
        requests: Heard and not ended; ``True`` once accepted.
        running: Being generated, with their models.
        loads: Terminal statuses that are due on this line, by model.
        owed: Models whose load was asked for on a line that is gone.
    """

    socket: int | None = None
    left: int | None = None
    is_open: bool = False
    has_registered: bool = False
    requests: dict[RequestKey, bool] = field(default_factory=dict[RequestKey, bool])
    running: dict[RequestKey, str] = field(default_factory=dict[RequestKey, str])
    loads: dict[str, int] = field(default_factory=dict[str, int])
    owed: set[str] = field(default_factory=set[str])

    def before(self, event: Event) -> None:
        """Write down what the outside did."""
        match event:
            case happened.LinkOpened(line) if line == self.socket:
                self.is_open = True
            case happened.LinkClosed(line) if line == self.socket:
                self._drop()
            case happened.Heard(line, InferenceRequest(request_id=word)) if self._stands(line):
                self.requests.setdefault(RequestKey(line, word), False)
            case happened.Heard(line, LoadModel(model_id=model)) if self._stands(line):
                self.loads[model] = self.loads.get(model, 0) + 1
            case happened.GenerationEnded(key):
                self.running.pop(key, None)
            case happened.RequestOpened(key) if key.line == LOCAL:
                self.requests.setdefault(key, True)  # nobody says that it is accepted
            case _:
                pass

    def after(self, node: Node, event: Event, effects: list[Effect], now_s: float) -> None:
        """Hold what the node did against the laws."""
        for effect in effects:
            self._effect(node, event, effect)
        if node.is_done:
            return
        assert node.deadline_s > now_s, "a deadline that came is never left standing"
        if node.machine.facts is not None:
            assert node.deadline_s < float("inf"), "no endless wait"

    @property
    def is_square(self) -> bool:
        """Whether everyone who is to be answered was answered."""
        return not self.requests and not self.owed and not any(self.loads.values())

    def _stands(self, line: int) -> bool:
        return self.is_open and line == self.socket

    def _drop(self) -> None:
        self.owed |= {model for model, count in self.loads.items() if count}
        self.loads.clear()
        self.requests = {key: word for key, word in self.requests.items() if key.line == LOCAL}
        self.socket, self.is_open, self.has_registered = None, False, False

    def _effect(self, node: Node, event: Event, effect: Effect) -> None:
        match effect:
            case do.Dial(line):
                assert self.socket is None, "never two sockets"
                self.socket = line
            case do.HangUp(line, is_polite):
                is_late = not is_polite and line == self.left
                assert is_late or line == self.socket, "only a line that stands is hung up"
                self.left = line
                self._drop()
            case do.Send(line, message):
                assert self._stands(line), "nothing is said on a line that does not stand"
                self._said(line, message)
            case do.FetchWeights(model):
                entry = node.settings.entry(model)
                assert entry is not None, "only what is offered is fetched"
                assert is_allowed(entry, node.settings.pools.allowed)
            case do.LoadEngine(model):
                here = residents(node.loads.stays.all())
                assert node.loads.pool.serves(model), "only the pool's models are loaded"
                assert len(here) <= node.settings.slots.max_model_slots, "no more than slots"
                assert [s.model for s in here].count(model) == 1, "no model twice"
            case do.StopEngine(model):
                is_dead = isinstance(event, happened.EngineFailed) and event.model == model
                busy = model in self.running.values()
                assert is_dead or not busy, "a resident that answers is never stopped"
            case do.StartGeneration(key, model):
                assert key not in self.running, "a request is started once"
                assert self.requests.get(key), "accepted first"
                self.running[key] = model
            case do.EndLocal(key):
                assert self.requests.pop(key, False), "one end, and no line needed for it"
            case _:
                pass

    def _said(self, line: int, message: Outbound) -> None:
        assert faults(encode(message)) == []
        assert self.has_registered != isinstance(message, Register), "register first, and once"
        self.has_registered = True
        match message:
            case InferenceAccepted(request_id=word):
                key = RequestKey(line, word)
                assert self.requests.get(key) is False, "accepted once, after it was heard"
                self.requests[key] = True
            case InferenceComplete(request_id=word):
                assert self.requests.pop(RequestKey(line, word), False), "one terminal message"
            case InferenceError(request_id=word):
                gone = self.requests.pop(RequestKey(line, word), None)
                assert gone is not None, "one terminal message"
            case LoadModelStatus(model_id=model, status=("succeeded" | "failed")):
                if self.loads.get(model):
                    self.loads[model] -= 1
                else:
                    assert model in self.owed, "one terminal status for each load_model"
                    self.owed.discard(model)
            case _:
                pass
