"""The levers of a dev coordinator: look at everything, and make things happen on purpose.

All of it stands under ``/dev`` and exists for tests and demonstrations. Each verb acts on the
provider named by ``?provider=``, else on all that are connected, or, for a load, on the one
that would be asked.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import TypeAlias, cast

from aiohttp import WSCloseCode, web

from .answers import Json, error_body, read_json
from .lines import Line
from .registry import Alias, Registry

Verb: TypeAlias = Callable[[list[Line], Json], Awaitable[None]]


class Steering:
    """Answers whoever steers.

    Args:
        registry: What is shown.
        lines: What is acted on, by provider id.
    """

    def __init__(self, *, registry: Registry, lines: Mapping[str, Line]) -> None:
        self._registry = registry
        self._lines = lines

    def routes(self) -> list[web.RouteDef]:
        """What it answers, for the application's router."""
        verbs: dict[str, Verb] = {
            "prefetch": _prefetch,
            "desired": self._desired,
            "send": _send,
            "close": _close,
            "drop": _drop,
        }
        return [
            web.get("/dev/state", self._state),
            web.post("/dev/load", self._load),
            web.post("/dev/challenge", self._challenge),
            *(web.post(f"/dev/{name}", self._doing(verb)) for name, verb in verbs.items()),
        ]

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response(self._registry.view(time.monotonic()))

    def _doing(self, verb: Verb) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            lines = self._chosen(request)
            try:
                await verb(lines, await _body(request))
            except ValueError as error:
                return _wrong(str(error))
            return web.json_response({"providers": [line.provider.id for line in lines]})

        return answer

    async def _load(self, request: web.Request) -> web.Response:
        try:
            model = _word(await _body(request), "model_id")
        except ValueError as error:
            return _wrong(str(error))
        lines = self._chosen(request)
        route = self._registry.route(model, now_s=time.monotonic())
        if route is not None and "provider" not in request.query:
            lines = [self._lines[route.provider.id]]
        if not lines:
            return _wrong("no provider is connected", status=HTTPStatus.NOT_FOUND)
        line = lines[0]
        answer: Json = {"provider": line.provider.id, "model_id": model}
        if request.query.get("wait") == "0":
            await line.send({"type": "load_model", "model_id": model})
            return web.json_response({**answer, "status": "sent"})
        began_s = time.monotonic()
        seen = await line.load(model, is_command=True)
        answer["took_s"] = time.monotonic() - began_s
        if seen is None:
            status = "lost" if line.provider.ended else "timeout"
            return web.json_response(
                {**answer, "status": status}, status=HTTPStatus.GATEWAY_TIMEOUT
            )
        return web.json_response(
            {**answer, "status": seen.status, "error": seen.error, "class": seen.load_class}
        )

    async def _challenge(self, request: web.Request) -> web.Response:
        results = [asdict(await line.challenge()) for line in self._chosen(request)]
        return web.json_response({"challenges": results})

    async def _desired(self, lines: list[Line], body: Json) -> None:
        self._registry.desire([_alias(row) for row in _rows(body.get("models"))])
        for line in lines:
            await line.send_desired(self._registry.desired_rows())

    def _chosen(self, request: web.Request) -> list[Line]:
        wanted = request.query.get("provider")
        return [line for name, line in self._lines.items() if wanted in {None, name}]


async def _prefetch(lines: list[Line], body: Json) -> None:
    message: Json = {"type": "prefetch_model", "model_id": _word(body, "model_id")}
    if "priority" in body:
        message["priority"] = body["priority"]
    for line in lines:
        await line.send(message)


async def _send(lines: list[Line], body: Json) -> None:
    frame = _word(body, "frame")
    for line in lines:
        await line.send_text(frame)


async def _close(lines: list[Line], body: Json) -> None:
    code, reason = body.get("code", WSCloseCode.SERVICE_RESTART), body.get("reason", "")
    if not isinstance(code, int) or not isinstance(reason, str):
        msg = "code is a number and reason a text"
        raise ValueError(msg)  # noqa: TRY004 - it is the request that is wrong
    for line in lines:
        await line.close(code, reason)


async def _drop(lines: list[Line], _: Json) -> None:
    for line in lines:
        line.drop()


async def _body(request: web.Request) -> Json:
    """The request's object; nothing at all counts as an empty one.

    Raises:
        ValueError: It is something else.
    """
    raw = await request.read()
    return read_json(raw) if raw.strip() else {}


def _word(body: Json, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        msg = f"{name} is missing"
        raise ValueError(msg)  # noqa: TRY004 - it is the request that is wrong
    return value


def _rows(value: object) -> list[Json]:
    if not isinstance(value, list):
        msg = "models is a list"
        raise ValueError(msg)  # noqa: TRY004 - it is the request that is wrong
    rows = cast("list[object]", value)
    return [cast("Json", row) for row in rows if isinstance(row, dict)]


def _alias(row: Json) -> Alias:
    previous = row.get("previous_build")
    return Alias(
        name=_word(row, "model_name"),
        desired=_word(row, "desired_build"),
        previous=previous if isinstance(previous, str) else "",
    )


def _wrong(message: str, *, status: int = HTTPStatus.BAD_REQUEST) -> web.Response:
    return web.json_response(error_body(message, kind="dev_error"), status=status)
