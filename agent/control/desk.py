"""The owner's desk: every question and every order that comes over the control sockets.

Questions are answered from the node as it is. Orders go into the inbox as events under a
number, and are answered by that number: at once, and again when something that took its time
has ended. Nothing is decided here.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Literal, cast
from urllib.parse import unquote

from ... import __version__
from ...config.errors import AgentError
from ..core.effects import Effect, TellOwner
from ..core.events import Event
from ..core.node import Node
from ..core.ordered import (
    DrainAsked,
    OrderEvent,
    PinAsked,
    PoolReleased,
    PoolSetAsked,
    UndrainAsked,
    UnpinAsked,
)
from ..core.status import Json, models, reasons, status
from .asked import Answer, Asked, Long, NotAnswered, Routes
from .counts import Counts
from .exposition import KIND, text
from .gauges import Process, gauges

if TYPE_CHECKING:
    from .completions import Ask, Call, Form
    from .spans import Spans

PATIENCE_S = 5.0
"""How long the first answer to an order may take; the core gives it in the same turn."""

MOST_ORDERS = 256
"""So many answers are remembered; the oldest are forgotten first."""

MOST_PROMPT_BYTES = 4 * 2**20
"""Of a body in OpenAI's form; a text as long as the longest context is a tenth of it."""

_STATUS = {"done": 200, "under_way": 202, "refused": 409, "failed": 409}

Reread = Callable[[], AgentError | str]
"""Reads the file again; what became of it, as an error or as words."""


class Desk:
    """Answers the owner.

    Attributes:
        counts: What was counted since the start; the loop tells it what happens.
        ask: Answers this machine's own programs, once the house stands.
        spans: Traces under way, if traces are wanted.

    Args:
        node: What is looked at.
        tell: Puts an event into the inbox.
        about: The process: its version, number, folder and file, for the status.
        reread: Has the configuration read again.
        clock_s: The node's clock.
        process: What the metrics tell of the process.
    """

    def __init__(
        self,
        node: Node,
        *,
        tell: Callable[[Event], None],
        about: Callable[[], Mapping[str, Mapping[str, Json]]],
        reread: Reread,
        clock_s: Callable[[], float],
        process: Callable[[], Process],
    ) -> None:
        self._node = node
        self._tell = tell
        self._about = about
        self._reread = reread
        self._clock_s = clock_s
        self._process = process
        self.counts = Counts(node)
        self.ask: Ask | None = None
        self.spans: Spans | None = None
        self._asks = 0
        self._told: OrderedDict[int, TellOwner] = OrderedDict()
        self._news = asyncio.Event()

    @property
    def routes(self) -> Routes:
        """Who answers what."""
        return {
            "/v1/status": {"GET": self._status},
            "/v1/models": {"GET": self._models},
            "/v1/models/": {"GET": self._one_model},
            "/v1/chat/completions": {"POST": self._completion("chat")},
            "/v1/completions": {"POST": self._completion("text")},
            "/v1/orders": {"GET": self._order},
            "/v1/openapi.json": {"GET": _openapi},
            "/metrics": {"GET": self._metrics},
            "/healthz": {"GET": self._health},
            "/readyz": {"GET": self._readiness},
            "/v1/reload": {"POST": self._reload},
            "/v1/drain": {"POST": self._drain},
            "/v1/undrain": {"POST": self._undrain},
            "/v1/pool/set": {"POST": self._pool_set},
            "/v1/pool/release": {"POST": self._pool_release},
            "/v1/pin": {"POST": self._pin},
            "/v1/unpin": {"POST": self._unpin},
        }

    def happened(self, event: Event, now_s: float) -> None:
        """Count an event, before the node has heard of it."""
        self.counts.happened(event, now_s)
        if self.spans is not None:
            self.spans.happened(event, now_s)

    def done(self, effect: Effect, now_s: float) -> None:
        """Count an effect, before it is carried out."""
        self.counts.done(effect, now_s)
        if self.spans is not None:
            self.spans.done(effect, now_s)

    def told(self, effect: TellOwner) -> None:
        """The node answers an order."""
        self._told[effect.ask] = effect
        self._told.move_to_end(effect.ask)
        while len(self._told) > MOST_ORDERS:
            self._told.popitem(last=False)
        self._news.set()
        self._news = asyncio.Event()

    # ── questions ─────────────────────────────────────────────────────────────────────

    def status(self) -> dict[str, Json]:
        """The node and its process, as one JSON object."""
        told = status(self._node, self._clock_s())
        for name, facts in self._about().items():
            known = told.get(name)
            told[name] = {**(known if isinstance(known, dict) else {}), **facts}
        return told

    def _status(self, _: Asked) -> Answer:
        return Answer(self.status())

    def _models(self, _: Asked) -> Answer:
        told: dict[str, object] = {"models": models(self._node, self._clock_s())}
        if self._node.settings.control.openai_api:
            from .completions import listed  # noqa: PLC0415  # for whoever wants OpenAI's form

            told |= {"object": "list", "data": listed(self._node)}
        return Answer(told)

    def _one_model(self, question: Asked) -> Answer:
        from . import completions  # noqa: PLC0415  # likewise

        if not self._node.settings.control.openai_api:
            raise completions.switched_off()
        return completions.one(self._node, unquote(question.path.removeprefix("/v1/models/")))

    def _completion(self, form: Literal["chat", "text"]) -> Long:
        """Requests of this machine's own programs; what they need is imported with the first."""

        def route(question: Asked) -> Awaitable[Answer]:
            from . import completions  # noqa: PLC0415  # off by default

            if not self._node.settings.control.openai_api:
                raise completions.switched_off()
            asks, parent = self.ask, question.headers.get("traceparent", "")
            if asks is None:
                raise completions.refused(503, "starting", "the agent is just starting")

            def ask(model: str, form: "Form", body: Mapping[str, object]) -> "Call":
                call = asks(model, form, body)
                if self.spans is not None and 0 < len(parent) <= _LONGEST_NAME:
                    self.spans.called_by(call.id, parent)
                return call

            return completions.complete(question, form, self._node, ask)

        def said(answer: Answer) -> Answer:
            from .completions import refusal  # noqa: PLC0415  # likewise

            return refusal(answer)

        return Long(route, MOST_PROMPT_BYTES, said)

    def _metrics(self, _: Asked) -> Answer:
        looked_up = gauges(self._node, self._process(), self._clock_s())
        return Answer(text([*self.counts.series, *looked_up]), kind=KIND)

    def _health(self, _: Asked) -> Answer:
        """This process lives: its loop answers, whatever it may lack."""
        return Answer({"status": "ok"})

    def _readiness(self, _: Asked) -> Answer:
        """It serves: the line stands and a model of the pool answers."""
        why_not = reasons(self._node, self._node.snapshot(self._clock_s()))
        words: Json = "unready" if why_not else "ok"
        return Answer({"status": words, "why_not": why_not}, 503 if why_not else 200)

    def _order(self, question: Asked) -> Answer:
        """How an order ended, or that it is under way."""
        number = question.query.get("order", "")
        told = self._told.get(int(number)) if number.isascii() and number.isdigit() else None
        if told is None:
            raise NotAnswered(404, "not_found", "no such order, or it was long ago")
        return _answer(told, status=200)

    # ── orders ────────────────────────────────────────────────────────────────────────

    def _reload(self, question: Asked) -> Answer:
        _ = question.fields(known={})
        found = self._reread()
        if isinstance(found, str):
            return Answer({"status": "done", "words": found})
        facts = {"code": found.code, "words": str(found), "remedy": found.remedy}
        return Answer({"status": "refused", **facts}, _STATUS["refused"])

    async def _drain(self, question: Asked) -> Answer:
        deadline_s = question.fields(known={"deadline_s": (int, float)}).get("deadline_s")
        if isinstance(deadline_s, int | float) and not 0 <= deadline_s <= _LONGEST_S:
            raise NotAnswered(400, "bad_request", "deadline_s has to be from 0 to 86400")
        found = None if deadline_s is None else float(cast("float", deadline_s))
        return await self._give(lambda ask: DrainAsked(ask, found))

    async def _undrain(self, question: Asked) -> Answer:
        _ = question.fields(known={})
        return await self._give(UndrainAsked)

    async def _pool_set(self, question: Asked) -> Answer:
        fields = question.fields(known={"pool": str, "now": bool})
        pool, is_now = _name(fields, "pool"), fields.get("now") is True
        return await self._give(lambda ask: PoolSetAsked(ask, pool, now=is_now))

    async def _pool_release(self, question: Asked) -> Answer:
        _ = question.fields(known={})
        return await self._give(PoolReleased)

    async def _pin(self, question: Asked) -> Answer:
        model = self._model(question)
        return await self._give(lambda ask: PinAsked(ask, model))

    async def _unpin(self, question: Asked) -> Answer:
        model = self._model(question)
        return await self._give(lambda ask: UnpinAsked(ask, model))

    def _model(self, question: Asked) -> str:
        """The build that is meant, by its id or by an alias that names only one."""
        named = _name(question.fields(known={"model": str}), "model")
        offered = self._node.settings.models
        if any(entry.id == named for entry in offered):
            return named
        aliased = [entry.id for entry in offered if named in entry.aliases]
        return aliased[0] if len(aliased) == 1 else named

    async def _give(self, order: Callable[[int], OrderEvent]) -> Answer:
        """Give an order, and wait for the first answer to it."""
        self._asks += 1
        ask = self._asks
        self._tell(order(ask))
        try:
            async with asyncio.timeout(PATIENCE_S):
                while ask not in self._told:
                    await self._news.wait()
        except TimeoutError as error:
            words = f"order {ask} was taken, but nothing is known of it yet"
            raise NotAnswered(504, "no_answer", words) from error
        return _answer(self._told[ask])


def _openapi(_: Asked) -> Answer:
    from .openapi import document  # noqa: PLC0415  # few ask, and it is large

    return Answer(document(__version__))


_LONGEST_S = 86400
_LONGEST_NAME = 256


def _name(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME or not value.isprintable():
        raise NotAnswered(400, "bad_request", f"{name} is missing, or is no name")
    return value


def _answer(told: TellOwner, status: int | None = None) -> Answer:
    body = {"order": told.ask, "status": told.status, "words": told.words}
    return Answer(body, _STATUS[told.status] if status is None else status)
