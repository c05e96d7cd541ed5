"""This machine's own programs ask in OpenAI's form; imported when the first of them does.

What is asked goes to the same core, queue and engine as a coordinator's requests, and what
comes back is passed on as it comes. Nothing of either is kept or written down.

Source:
    OpenAI's API reference: chat completions, completions, models, errors.
"""

import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Literal, NoReturn, Protocol, Self, cast

from ...backends.engines.base import whole
from ...config.errors import AgentError, Retry
from ...config.refusals import ModelCrashed, Overloaded, RequestCancelled
from ..core.cold import missing_bytes
from ..core.node import Node
from ..core.slots import COMING
from .asked import Answer, Asked, NotAnswered
from .whole import Whole

STREAM = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"

Form = Literal["chat", "text"]

_NO_CHOICES = b'"choices":[]'
"""In a chunk of ours only its usage; in a text of an answer, the quotes are escaped."""

_BUSY_S, _SOON_S, _LATEST_S = 1, 5, 600
"""When to come again: if the queue is full, if nobody knows, and at the latest."""

_LATER = frozenset({429, 503})
_RATE, _FAULT = 429, 500
_BAD = "bad_request"


class Call(Protocol):
    """One answer, line by line; closing it ends it."""

    id: str

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The lines, in order."""
        ...

    async def __anext__(self) -> bytes:
        """The next line.

        Raises:
            AgentError: The request was refused, or its answer broke off.
        """
        ...

    async def aclose(self) -> None:
        """Nobody reads any more."""
        ...


Ask = Callable[[str, Form, Mapping[str, object]], Call]
"""A model's id, the body's form, the body; the answer comes by the call."""


async def complete(question: Asked, form: Form, node: Node, ask: Ask) -> Answer:
    """Answer a ``POST`` to one of the two endpoints.

    Args:
        question: What came.
        form: Which of the two.
        node: Looked at for its models.
        ask: Who answers.

    Raises:
        NotAnswered: Never but in OpenAI's form.
    """
    body = _body(question, form)
    model = _model(node, cast("str", body["model"]))
    call = ask(model, form, body)
    is_handed_on = False
    try:
        first = await anext(call, None)  # so that a refusal has a status of its own
        if body.get("stream") is True:
            is_handed_on = True
            options = cast("Mapping[str, object]", body.get("stream_options") or {})
            pieces = _Stream(call, first, has_usage=options.get("include_usage") is True)
            return Answer(pieces, kind=STREAM, headers={"X-Request-Id": call.id})
        whole = Whole(is_chat=form == "chat")
        if first is not None:
            whole.add(first)
        async for line in call:
            whole.add(line)
        return Answer(whole.made(), headers={"X-Request-Id": call.id})
    except AgentError as error:
        return _failed(error, node, model, call.id)
    finally:
        if not is_handed_on:
            await call.aclose()


class _Stream(AsyncIterator[bytes]):
    """An answer as server-sent events; a failure on the way is an event of its own."""

    def __init__(self, call: Call, first: bytes | None, *, has_usage: bool) -> None:
        self._call = call
        self._first = first
        self._has_usage = has_usage
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._is_over:
            raise StopAsyncIteration
        try:
            while True:
                line, self._first = self._first or await anext(self._call), None
                if self._has_usage or _NO_CHOICES not in line:
                    return line + b"\n\n"
        except StopAsyncIteration:
            self._is_over = True
            return DONE
        except AgentError as error:
            self._is_over = True
            told = json.dumps(_problem(_status(error), error.code, str(error)))
            return b"data: " + told.encode() + b"\n\n"

    async def aclose(self) -> None:
        """Nobody reads any more."""
        await self._call.aclose()


def listed(node: Node) -> list[dict[str, object]]:
    """Every name under which a model of the pool may be asked for, aliases first."""
    pool = node.loads.pool
    mine = [entry for entry in node.settings.models if pool.serves(entry.id)]
    names = [*(alias for entry in mine for alias in entry.aliases), *(entry.id for entry in mine)]
    return [
        {"id": name, "object": "model", "created": 0, "owned_by": "poolhand"}
        for name in dict.fromkeys(names)
    ]


def one(node: Node, name: str) -> Answer:
    """One model of the list."""
    found = next((each for each in listed(node) if each["id"] == name), None)
    if found is None:
        raise _unknown_model()
    return Answer(found)


def refusal(answer: Answer) -> Answer:
    """A refusal of the control socket in OpenAI's form."""
    said = cast("Mapping[str, str]", answer.body)
    if "error" in said:
        return answer
    return Answer(_problem(answer.status, said["code"], said["words"]), answer.status)


def switched_off() -> NotAnswered:
    """What is said as long as nobody may ask."""
    words = "this endpoint is off: say openai_api = true under [control]"
    return refused(404, "endpoint_off", words)


def refused(status: int, code: str, words: str, param: str | None = None) -> NotAnswered:
    """A refusal in OpenAI's form, ready to be raised.

    Args:
        status: HTTP.
        code: A stable word.
        words: A sentence for a person.
        param: The field that is to blame.
    """
    error = NotAnswered(status, code, words)
    error.answer = Answer(_problem(status, code, words, param), status)
    return error


# ── what is asked ─────────────────────────────────────────────────────────────────────


def _body(question: Asked, form: Form) -> Mapping[str, object]:
    """The body, as far as it is looked at before an engine reads it.

    Raises:
        NotAnswered: It cannot be one.
    """
    try:
        read: object = json.loads(question.body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise refused(400, _BAD, "the body has to be a JSON object")
    body = cast("dict[str, object]", read)
    content = "messages" if form == "chat" else "prompt"
    said = body.get(content)
    if not isinstance(body.get("model"), str):
        raise refused(400, _BAD, "model has to be a name", "model")
    if not said or not isinstance(said, list if form == "chat" else str | list):
        raise refused(400, _BAD, f"{content} is missing, empty or of the wrong type", content)
    if not isinstance(body.get("stream"), bool | None):
        raise refused(400, _BAD, "stream has to be true or false", "stream")
    if not isinstance(body.get("stream_options"), dict | None):
        raise refused(400, _BAD, "stream_options has to be an object", "stream_options")
    for name in ("max_tokens", "max_completion_tokens"):
        most = whole(body.get(name))
        if body.get(name) is not None and (most is None or most <= 0):
            raise refused(400, _BAD, f"{name} has to be a whole number, 1 or more", name)
    return body


def _no_number(_: str) -> NoReturn:
    raise ValueError


def _model(node: Node, named: str) -> str:
    """The build that is meant: by its id, else of those with this alias the one that is nearest.

    Raises:
        NotAnswered: There is none.
    """
    if node.settings.entry(named) is not None:
        return named
    builds = [entry.id for entry in node.settings.models if named in entry.aliases]
    if not builds:
        raise _unknown_model()
    stays, pool = node.loads.stays, node.loads.pool

    def distance(build: str) -> tuple[bool, bool, bool]:
        is_coming = stays.find(build, COMING) is not None
        return not pool.serves(build), stays.ready(build) is None, not is_coming

    return min(builds, key=distance)


# ── what is wrong with it ─────────────────────────────────────────────────────────────


def _unknown_model() -> NotAnswered:
    words = "no model of this name is offered here; GET /v1/models tells which are"
    return refused(404, "model_not_found", words, "model")


def _failed(error: AgentError, node: Node, model: str, number: str) -> Answer:
    status = _status(error)
    headers = {"X-Request-Id": number}
    if status in _LATER and error.retry is not Retry.OPERATOR:
        headers["Retry-After"] = str(_wait_s(error, node, model))
    return Answer(_problem(status, error.code, str(error)), status, headers=headers)


def _wait_s(error: AgentError, node: Node, model: str) -> int:
    """When it is worth to come again, in whole seconds."""
    if isinstance(error, Overloaded):
        return _BUSY_S
    if isinstance(error, ModelCrashed) and error.waits_s is not None:
        return min(max(1, math.ceil(error.waits_s)), _LATEST_S)
    stay = node.loads.stays.find(model, COMING)
    missing = missing_bytes(node.machine.stocks.get(model), stay)
    ready_s = node.loads.measured.ready_in_s(model, missing) if stay is not None else None
    return _SOON_S if ready_s is None else min(max(1, math.ceil(ready_s)), _LATEST_S)


def _status(error: AgentError) -> int:
    # whoever asked is still there: it was the node that ended it
    return 503 if isinstance(error, RequestCancelled) else error.status


def _problem(status: int, code: str, words: str, param: str | None = None) -> dict[str, object]:
    kind = "invalid_request_error"
    if status >= _FAULT:
        kind = "server_error"
    elif status == _RATE:
        kind = "rate_limit_error"
    return {"error": {"message": words, "type": kind, "param": param, "code": code}}
