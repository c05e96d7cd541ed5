"""What the coordinator says, put to whom it concerns: one row for each message."""

from collections.abc import Callable

from ..wire.extensions import AssignPool, CancelLoad, Drain, Undrain, UnloadModel
from ..wire.inbound import (
    AttestationChallenge,
    Cancel,
    DesiredModels,
    InferenceRequest,
    LoadModel,
    PrefetchModel,
    RuntimeStatus,
    TrustStatus,
    Unknown,
)
from ..wire.later import CapacityProbe, DrainAck
from . import report
from .answers import Answers
from .commands import Commands
from .effects import ReadCatalog
from .events import Heard, RequestKey
from .loads import Loads, Said
from .machine import Machine
from .moves import Moves
from .quote import quote
from .standing import Standing
from .unlisted import unlisted


class Hearing:
    """Takes in what is heard on the line that stands; keeps nothing but the standing.

    Args:
        loads: The models.
        answers: The requests.
        moves: The assignment.
        commands: What is asked beyond the protocol.
        machine: What lies on disk.
        snapshot: The node as it is at a moment.
    """

    def __init__(
        self,
        loads: Loads,
        answers: Answers,
        moves: Moves,
        commands: Commands,
        machine: Machine,
        *,
        snapshot: Callable[[float], report.Snapshot],
    ) -> None:
        self.standing = Standing()
        self._loads = loads
        self._answers = answers
        self._moves = moves
        self._commands = commands
        self._machine = machine
        self._snapshot = snapshot

    def heard(self, heard: Heard, now_s: float) -> list[Said]:
        """The coordinator said something; perhaps of a model that only its catalog knows."""
        unknown = unlisted(heard.message, self._loads.settings)
        return [*self._told(heard, now_s), *map(ReadCatalog, unknown)]

    def _told(self, heard: Heard, now_s: float) -> list[Said]:
        match heard.message:
            case InferenceRequest() as request:
                self.standing.sent_work()
                return self._answers.heard(heard.line, request, now_s)
            case Cancel(request_id=request_id):
                return self._answers.cancelled(RequestKey(heard.line, request_id))
            case AttestationChallenge() as challenge:
                self.standing.challenged(now_s)
                return [report.attestation(self._snapshot(now_s), challenge)]
            case LoadModel(model_id=model):
                return self._moves.asked(model, now_s)
            case PrefetchModel() as wish:
                return self._loads.prefetch(wish, now_s)
            case DesiredModels() as wish:
                said = self._moves.choice.desired(wish, self._loads.wishes.desired, now_s)
                return [*said, *self._loads.desire(wish, self._machine.stocks, now_s)]
            case AssignPool() | UnloadModel() | CancelLoad() | Drain() | Undrain() as command:
                self._loads.wishes.is_known = True
                return self._commands.heard(heard.line, command, now_s, heard.unix_s)
            case CapacityProbe() as probe:
                return [quote(self._snapshot(now_s), probe, self._loads.measured)]
            case TrustStatus() | RuntimeStatus() | DrainAck() | Unknown() as word:
                self.standing.heard(word)
                return []
