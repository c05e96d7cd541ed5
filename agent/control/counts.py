"""Counts what happens and what is done, as the loop tells it; no event is changed by it.

Times are the node's own. What is begun and never ends is forgotten: nothing here grows.
"""

from collections.abc import Iterable

from ...config.errors import AgentError
from ..core import effects, events
from ..core.effects import Effect
from ..core.events import Event
from ..core.node import Node
from ..core.request_key import LOCAL, RequestKey
from ..wire.codec import encode
from ..wire.extensions import AssignPoolStatus, CancelLoadStatus, DrainStatus, UnloadModelStatus
from ..wire.inbound import Inbound, LoadModel, Unknown
from ..wire.outbound import Heartbeat, InferenceError, LoadModelStatus, PrefetchModelStatus
from .exposition import Series, by_name
from .families import COUNTED

MOST_OPEN = 1024
"""Beginnings that are remembered; beyond, the oldest is forgotten."""

_ANSWERS = (
    *(PrefetchModelStatus, AssignPoolStatus),
    *(UnloadModelStatus, CancelLoadStatus, DrainStatus),
)
_UNSOUND = frozenset({"weights_corrupt", "weights_unsafe"})


class Counts:
    """Everything that is counted as it happens.

    Args:
        node: Looked at for what an event does not say: a model's store, why it leaves.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._of = by_name(COUNTED)
        self._begun: dict[tuple[str, str], float] = {}
        self._fetched: dict[str, tuple[int, int]] = {}
        self._died: set[str] = set()
        self._ended_last: RequestKey | None = None

    @property
    def series(self) -> Iterable[Series]:
        """What was counted."""
        return self._of.values()

    def happened(self, event: Event, now_s: float) -> None:
        """Count an event, before the node has heard of it."""
        if isinstance(event, events.Heard):  # a storm is of these, so they are asked for first
            self._heard(event.message, now_s)
            return
        match event:
            case events.LinkOpened() | events.LinkClosed():
                self._line(event, now_s)
            case events.GenerationEnded():
                self._ended(event, now_s)
            case events.SettingsChanged():
                self._of["config_reloads_total"].add("applied")
            case events.SettingsRejected():
                self._of["config_reloads_total"].add("rejected")
            case _:
                self._model(event, now_s)

    def done(self, effect: Effect, now_s: float) -> None:
        """Count an effect, before it is carried out."""
        match effect:
            case effects.Send(line, message):
                self._said(line, message, now_s)
            case effects.EndLocal(request, error):
                self._told(request, error)
            case effects.FetchWeights(model):
                self._begin("fetch", model, now_s)
            case effects.VerifyWeights(model):
                self._begin("verify", model, now_s)
            case effects.LoadEngine(model, _):
                self._begin("load", model, now_s)
            case effects.StopEngine(model):
                self._of["evictions_total"].add(self._why(model))
            case effects.StartGeneration(request):
                self._begin("answer", f"{request.line} {request.id}", now_s)
            case effects.TellOwner(_, status):
                self._of["orders_total"].add(status)
            case _:
                pass

    # ── events ────────────────────────────────────────────────────────────────────────

    def _line(self, event: events.LinkOpened | events.LinkClosed, now_s: float) -> None:
        if isinstance(event, events.LinkOpened):
            self._of["connects_total"].add()
            lost_s = self._begun.pop(("line", ""), None)
            if lost_s is not None:
                self._of["reconnect_seconds"].observe(now_s - lost_s)
            return
        if self._node.session.is_online and event.line == self._node.session.line:
            self._begin("line", "", now_s)
            self._of["line_losses_total"].add(str(event.close_code))

    def _heard(self, message: Inbound, now_s: float) -> None:
        kind = "unknown" if isinstance(message, Unknown) else message.type
        self._of["commands_total"].add(kind, "heard")
        if isinstance(message, LoadModel):
            self._begun.setdefault(("load_model", message.model_id), now_s)

    def _model(self, event: Event, now_s: float) -> None:
        match event:
            case events.WeightsProgressed():
                self._progressed(event)
            case events.WeightsFetched(model):
                self._fetched.pop(model, None)
                self._took("fetch", model, now_s)
            case events.WeightsVerified(model):
                self._took("verify", model, now_s)
            case events.EngineLoaded(model):
                self._took("load", model, now_s)
            case events.WeightsFailed(model, error) | events.EngineFailed(model, error):
                self._failed(event, model, error)
            case events.EngineStopped(model):
                self._died.discard(model)
            case _:
                pass

    def _progressed(self, event: events.WeightsProgressed) -> None:
        progress, model = event.progress, event.model
        before, peers_before = self._fetched.get(model) or (None, 0)
        here, peers = progress.bytes_done, progress.bytes_peers
        if before is None:
            self._of["download_resumed_bytes_total"].add(by=progress.bytes_resumed)
            before = min(progress.bytes_resumed, here)
        entry = self._node.settings.entry(model)
        source = entry.ref.partition("://")[0] if entry is not None and "://" in entry.ref else "hf"
        self._of["download_bytes_total"].add(source, by=here - before - (peers - peers_before))
        if peers > peers_before:
            self._of["download_bytes_total"].add("peers", by=peers - peers_before)
        self._fetched[model] = (here, peers)

    def _failed(
        self, event: events.WeightsFailed | events.EngineFailed, model: str, error: AgentError
    ) -> None:
        self._of["load_failures_total"].add(error.code)
        if isinstance(event, events.EngineFailed):
            self._died.add(model)
        elif error.code in _UNSOUND:
            self._of["verify_failures_total"].add()
        self._fetched.pop(model, None)
        for phase in ("fetch", "verify", "load"):
            self._begun.pop((phase, model), None)

    def _ended(self, event: events.GenerationEnded, now_s: float) -> None:
        self._ended_last = event.request
        self._over(event.outcome, event.request.line)
        begun_s = self._begun.pop(("answer", f"{event.request.line} {event.request.id}"), None)
        if begun_s is not None:
            self._of["relay_seconds"].observe(now_s - begun_s)
        if event.first_s is not None:
            self._of["first_token_seconds"].observe(event.first_s)
        if event.usage is not None:
            self._of["prompt_tokens_total"].add(by=event.usage.prompt_tokens)
            self._of["completion_tokens_total"].add(by=event.usage.completion_tokens)
        if event.error is not None:
            self._of["request_errors_total"].add(event.error.code)

    # ── effects ───────────────────────────────────────────────────────────────────────

    def _said(self, line: int, message: object, now_s: float) -> None:
        if isinstance(message, LoadModelStatus):
            self._answered(message, now_s)
        elif isinstance(message, Heartbeat):
            self._of["heartbeats_total"].add()
            self._of["heartbeat_bytes"].put(len(encode(message)))
        elif isinstance(message, InferenceError):
            self._refused(RequestKey(line, message.request_id))
        elif isinstance(message, _ANSWERS):
            kind = message.type.removesuffix("_status")
            self._of["commands_total"].add(kind, message.status)

    def _answered(self, message: LoadModelStatus, now_s: float) -> None:
        self._of["commands_total"].add("load_model", message.status)
        if message.status == "started":
            return
        begun_s = self._begun.pop(("load_model", message.model_id), None)
        if begun_s is not None:
            self._of["command_seconds"].observe(now_s - begun_s, "load_model")

    def _told(self, request: RequestKey, error: AgentError | None) -> None:
        if error is not None:
            self._refused(request)

    def _refused(self, request: RequestKey) -> None:
        """A request ends with an error: refused, unless it is the end of an answer just told."""
        if request == self._ended_last:
            self._ended_last = None
        else:
            self._over("refused", request.line)

    def _over(self, outcome: str, line: int) -> None:
        self._of["requests_total"].add(outcome)
        if line == LOCAL:
            self._of["local_requests_total"].add(outcome)

    def _why(self, model: str) -> str:
        """Why a model leaves memory, as far as it can be told."""
        if model in self._died:
            return "failed"
        drain = self._node.loads.drains.first
        return "made_way" if drain is None else drain.reason

    # ── spans ─────────────────────────────────────────────────────────────────────────

    def _begin(self, what: str, of: str, now_s: float) -> None:
        if len(self._begun) >= MOST_OPEN:
            del self._begun[next(iter(self._begun))]
        self._begun[what, of] = now_s

    def _took(self, phase: str, model: str, now_s: float) -> None:
        begun_s = self._begun.pop((phase, model), None)
        if begun_s is not None:
            self._of["load_seconds"].observe(now_s - begun_s, phase)
