"""What happens, as spans of traces: loads, requests, lines that came back; never what was said.

The loop tells of events and effects; a trace is given away whole, once it has ended. What
begins and never ends is forgotten: nothing here grows.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ...config.errors import AgentError
from ..core import effects, events
from ..core.effects import Effect
from ..core.events import Event
from ..core.node import Node
from ..core.request_key import LOCAL, RequestKey
from ..wire.inbound import InferenceRequest
from ..wire.outbound import InferenceComplete, InferenceError

MOST_OPEN = 1024
"""Traces that may be under way; beyond, the oldest is forgotten."""

Value: TypeAlias = str | int | float | bool


@dataclass(slots=True)
class Span:
    """Something that took its time.

    Attributes:
        name: One of a few words, never an id.
        begins_s: The node's time, in seconds.
        ends_s: Likewise; ``None`` while it goes on.
        facts: Ids, counts, durations and codes.
        marks: Moments within it, by name.
        parts: What it consists of.
        error: The code of what went wrong; empty if nothing did.
        parent: The caller's ``traceparent``, if there is one.
    """

    name: str
    begins_s: float
    ends_s: float | None = None
    facts: dict[str, Value] = field(default_factory=dict[str, Value])
    marks: dict[str, float] = field(default_factory=dict[str, float])
    parts: list["Span"] = field(default_factory=list["Span"])
    error: str = ""
    parent: str = ""

    def begin(self, name: str, now_s: float) -> None:
        """The next part begins; the one before it is over."""
        self.end_part(now_s)
        self.parts.append(Span(name, now_s))

    def end_part(self, now_s: float) -> None:
        """Whatever part goes on is over."""
        if self.parts and self.parts[-1].ends_s is None:
            self.parts[-1].ends_s = now_s

    def note(self, **facts: Value | None) -> None:
        """Write down what is known; what is not is left out."""
        named = {name.replace("__", "."): value for name, value in facts.items()}
        self.facts |= {name: value for name, value in named.items() if value is not None}


class Spans:
    """Traces under way.

    Args:
        node: Looked at for what an event does not say.
        give: Takes a trace that has ended.
    """

    def __init__(self, node: Node, give: Callable[[Span], None]) -> None:
        self._node = node
        self._give = give
        self._open: dict[tuple[str, str], Span] = {}
        self._callers: dict[str, str] = {}

    def called_by(self, request_id: str, traceparent: str) -> None:
        """A local request is part of somebody's trace."""
        if (span := self._open.get(("request", _id(RequestKey(LOCAL, request_id))))) is not None:
            span.parent = traceparent
            return
        if len(self._callers) >= MOST_OPEN:
            del self._callers[next(iter(self._callers))]
        self._callers[request_id] = traceparent

    def happened(self, event: Event, now_s: float) -> None:
        """An event, before the node has heard of it."""
        match event:
            case events.LinkOpened() | events.LinkClosed():
                self._line(event, now_s)
            case events.Heard(line, InferenceRequest(request_id=name)):
                self._begin("request", _id(RequestKey(line, name)), now_s).begin("queue", now_s)
            case events.RequestOpened(request, model):
                self._opened(request, model, now_s)
            case events.GenerationEnded():
                self._answered(event, now_s)
            case _:
                self._model(event, now_s)

    def done(self, effect: Effect, now_s: float) -> None:
        """An effect, before it is carried out."""
        match effect:
            case effects.FetchWeights() | effects.VerifyWeights() | effects.LoadEngine():
                self._phase(effect.model, _PHASES[type(effect)], now_s)
            case effects.CancelFetch(model):
                self._end(("load", model), now_s, error="cancelled")
            case effects.Dial():
                if span := self._open.get(("reconnect", "")):
                    span.begin("dial", now_s)
            case effects.StartGeneration(request):
                if span := self._open.get(("request", _id(request))):
                    span.begin("answer", now_s)
            case effects.Send(line, (InferenceComplete() | InferenceError()) as message):
                self._over(RequestKey(line, message.request_id), now_s)
            case effects.EndLocal(request, error):
                self._over(request, now_s, error)
            case _:
                pass

    # ── the line ──────────────────────────────────────────────────────────────────────

    def _line(self, event: events.LinkOpened | events.LinkClosed, now_s: float) -> None:
        at = ("reconnect", "")
        if isinstance(event, events.LinkOpened):
            self._end(at, now_s)
            return
        self._lose(event.line, now_s)
        if self._node.session.is_online and event.line == self._node.session.line:
            self._begin(*at, now_s).note(close_code=event.close_code, reason=event.error.code)
        elif (span := self._open.get(at)) is not None and span.parts:
            span.end_part(now_s)
            span.parts[-1].error = event.error.code

    def _lose(self, line: int, now_s: float) -> None:
        """Whoever asked on this line is told nothing more."""
        for at, span in [*self._open.items()]:
            if at[0] == "request" and at[1].startswith(f"{line} "):
                span.note(line_lost=True)
                if span.parts[-1].name == "queue":
                    self._end(at, now_s, error="link_lost")

    # ── requests ──────────────────────────────────────────────────────────────────────

    def _opened(self, request: RequestKey, model: str, now_s: float) -> None:
        at = ("request", _id(request))
        span = self._open.get(at)
        if span is None and request.line == LOCAL:
            span = self._begin(*at, now_s)
            span.begin("queue", now_s)
            span.parent = self._callers.pop(request.id, "")
        if span is not None:
            known = model if self._node.settings.entry(model) is not None else None
            span.note(model=known, request_id=request.id, local=request.line == LOCAL)

    def _answered(self, event: events.GenerationEnded, now_s: float) -> None:
        span = self._open.get(("request", _id(event.request)))
        if span is None:
            return
        span.end_part(now_s)
        part, usage = span.parts[-1], event.usage
        if event.first_s is not None:
            part.marks["first_token"] = part.begins_s + event.first_s
        part.note(outcome=event.outcome, finish_reason=event.reason, first_token_s=event.first_s)
        if usage is not None:
            part.note(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)
        span.error = part.error = event.error.code if event.error is not None else ""
        span.note(outcome=event.outcome)
        if "line_lost" in span.facts:
            self._end(("request", _id(event.request)), now_s, error="link_lost")

    def _over(self, request: RequestKey, now_s: float, error: AgentError | None = None) -> None:
        at = ("request", _id(request))
        span = self._open.get(at)
        if span is None:
            return
        if "outcome" not in span.facts:
            span.note(outcome="refused")
            span.error = "refused" if error is None else error.code
        self._end(at, now_s, error=span.error)

    # ── loads ─────────────────────────────────────────────────────────────────────────

    def _model(self, event: Event, now_s: float) -> None:
        match event:
            case events.WeightsProgressed(model, progress):
                span = self._open.get(("load", model))
                if span is not None and span.parts and span.parts[-1].name == "fetch":
                    self._progressed(span.parts[-1], progress.phase, now_s)
                    span.parts[-1].note(
                        bytes=progress.bytes_total, bytes_resumed=progress.bytes_resumed
                    )
            case events.WeightsFetched(model):
                self._part_over(model, now_s)
            case events.WeightsVerified(model):
                self._part_over(model, now_s)
                if span := self._open.get(("load", model)):
                    span.begin("wait", now_s)  # for a slot, or for nothing but its bytes
            case events.EngineLoaded(model):
                self._end(("load", model), now_s)
            case events.WeightsFailed(model, error) | events.EngineFailed(model, error):
                self._end(("load", model), now_s, error=error.code)
            case _:
                self._forget_prefetched()

    def _progressed(self, fetch: Span, phase: str, now_s: float) -> None:
        """A fetch tells which of its phases it is in: list, verify, fetch, publish."""
        name = f"fetch.{phase}"
        if phase and (not fetch.parts or fetch.parts[-1].name != name):
            fetch.begin(name, now_s)

    def _phase(self, model: str, name: str, now_s: float) -> None:
        span = self._open.get(("load", model)) or self._begin("load", model, now_s)
        span.note(model=model, store=self._store(model))
        span.begin(name, now_s)

    def _part_over(self, model: str, now_s: float) -> None:
        span = self._open.get(("load", model))
        if span is not None and span.parts:
            span.parts[-1].end_part(now_s)
            span.end_part(now_s)

    def _forget_prefetched(self) -> None:
        """Bytes that came for their own sake: their trace ends where the wait for nothing began."""
        for at, span in [*self._open.items()]:
            is_idle = at[0] == "load" and span.parts and span.parts[-1].name == "wait"
            if is_idle and all(stay.model != at[1] for stay in self._node.loads.stays.all()):
                waited = span.parts.pop()
                span.note(bytes_alone=True)
                self._end(at, waited.begins_s)

    def _store(self, model: str) -> str | None:
        entry = self._node.settings.entry(model)
        scheme, is_uri, _ = entry.ref.partition("://") if entry is not None else ("", "", "")
        return scheme if is_uri else None

    # ── inside ────────────────────────────────────────────────────────────────────────

    def _begin(self, name: str, of: str, now_s: float) -> Span:
        if len(self._open) >= MOST_OPEN:
            del self._open[next(iter(self._open))]
        span = self._open[name, of] = Span(name, now_s)
        return span

    def _end(self, at: tuple[str, str], now_s: float, *, error: str = "") -> None:
        span = self._open.pop(at, None)
        if span is None:
            return
        if span.parts:
            span.parts[-1].end_part(now_s)
        span.end_part(now_s)
        span.ends_s, span.error = now_s, error
        if error and span.parts and at[0] == "load":
            span.parts[-1].error = error
        self._give(span)


def walked(span: Span) -> Iterator[Span]:
    """A trace's spans, each before its parts."""
    yield span
    for part in span.parts:
        yield from walked(part)


_PHASES: Mapping[type[Effect], str] = {
    effects.FetchWeights: "fetch",
    effects.VerifyWeights: "verify",
    effects.LoadEngine: "engine",
}


def _id(request: RequestKey) -> str:
    return f"{request.line} {request.id}"


NAMES: Mapping[str, str] = {
    "model": "poolhand.model",
    "store": "poolhand.store",
    "request_id": "poolhand.request.id",
    "local": "poolhand.request.local",
    "outcome": "poolhand.request.outcome",
    "line_lost": "poolhand.request.line_lost",
    "first_token_s": "poolhand.request.first_token_s",
    "bytes": "poolhand.fetch.bytes",
    "bytes_resumed": "poolhand.fetch.bytes_resumed",
    "bytes_alone": "poolhand.load.bytes_alone",
    "close_code": "poolhand.line.close_code",
    "reason": "poolhand.line.reason",
    "finish_reason": "poolhand.request.finish_reason",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
}
"""What a fact is called in a trace.

Source:
    OpenTelemetry semantic conventions for generative AI, where they have a name for it.
"""
