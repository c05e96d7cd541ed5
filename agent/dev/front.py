"""The public side: an OpenAI-compatible API in front of whoever is connected.

A request goes to a provider that holds the model, else to one that offers it and is told to
load it first. As long as nothing was said to the client, another provider may be tried. The
text of a request lives in this file's local variables and nowhere else.
"""

import time
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from .answers import (
    CHAT_ENDPOINT,
    DONE,
    TEXT_ENDPOINT,
    BodyUnusable,
    Json,
    client_chunk,
    error_body,
    provider_body,
    read_body,
    sse,
    usage_chunk,
    wants_usage,
    whole,
)
from .classes import LoadClass, classify_load, client_error, is_hopeless
from .exchange import DISCONNECTED, TIMED_OUT, Exchange, Failure, Finished, Piece, Step
from .library import Library
from .lines import Line
from .options import CoordinatorOptions
from .registry import Registry, Route

MOST_TRIES = 4
"""The first provider and three more."""

_NAMED = ("id", "object", "created", "model")


class Front:
    """Answers clients.

    Args:
        registry: Who could be asked.
        lines: How they are asked, by provider id.
        options: The coordinator's.
    """

    def __init__(
        self, *, registry: Registry, lines: Mapping[str, Line], options: CoordinatorOptions
    ) -> None:
        self._registry = registry
        self._lines = lines
        self._options = options
        self._library = Library(options.registry)

    def routes(self) -> list[web.RouteDef]:
        """What it answers, for the application's router."""
        return [
            web.get("/health", self._health),
            web.get("/readyz", self._health),
            web.get("/v1/models", self._models),
            web.get("/v1/models/catalog", self._catalog),
            web.get("/v1/models/catalog/manifest/{model:.+}", self._manifest),
            web.post(CHAT_ENDPOINT, self._complete),
            web.post(TEXT_ENDPOINT, self._complete),
        ]

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "providers": len(self._registry.providers)})

    async def _models(self, _: web.Request) -> web.Response:
        rows = [
            {"id": name, "object": "model", "created": 0, "owned_by": "poolhand-dev"}
            for name in self._registry.names()
        ]
        return web.json_response({"object": "list", "data": rows})

    async def _catalog(self, _: web.Request) -> web.Response:
        offered = {
            build: model
            for each in self._registry.providers.values()
            for build, model in each.models.items()
        }
        models: list[Json] = [
            {
                "id": model.id,
                "display_name": model.id,
                "weight_hash": model.weight_hash,
                "total_size_bytes": model.size_bytes,
                "size_gb": model.size_bytes / 1e9,
                "active": True,
            }
            for _, model in sorted(offered.items())
        ]
        aliases: list[Json] = [
            {
                "id": alias.name,
                "display_name": alias.name,
                "desired_build": alias.desired,
                "previous_build": alias.previous or None,
                "retired_builds": [],
                "primary_build": alias.desired,
            }
            for alias in self._registry.aliases.values()
        ]
        listed = self._library.rows()
        known = {row["id"] for row in listed}
        models = [*listed, *(row for row in models if row["id"] not in known)]
        return web.json_response({"models": models, "aliases": aliases})

    async def _manifest(self, request: web.Request) -> web.Response:
        found = self._library.manifest(request.match_info["model"])
        if found is None:
            failure = error_body("no such build", kind="not_found")
            return web.json_response(failure, status=HTTPStatus.NOT_FOUND)
        return web.json_response(found)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        try:
            body = read_body(await request.read())
        except BodyUnusable as error:
            return _refused(Failure(HTTPStatus.BAD_REQUEST, str(error)))
        except web.HTTPRequestEntityTooLarge:
            return _refused(Failure(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large"))
        asked, tried = str(body["model"]), set[str]()
        failure = Failure(HTTPStatus.NOT_FOUND, "nobody offers this model")
        for _ in range(MOST_TRIES):
            route = self._registry.route(asked, skip=tried, now_s=time.monotonic())
            if route is None:
                break
            tried.add(route.provider.id)
            answer = await self._ask(request, body, route)
            if isinstance(answer, web.StreamResponse):
                return answer
            failure = answer
            if not _is_worth_another_try(failure):
                break
        return _refused(failure)

    async def _ask(
        self, request: web.Request, body: Json, route: Route
    ) -> web.StreamResponse | Failure:
        """Ask one provider; a failure means that the client has not heard anything yet."""
        line = self._lines[route.provider.id]
        unloaded = await self._warm(line, route)
        if unloaded is not None:
            return unloaded
        plaintext = provider_body(
            body,
            build=route.build,
            endpoint=request.path,
            max_tokens=self._options.default_max_tokens,
        )
        async with line.exchange(route.build, plaintext) as exchange:
            held = await exchange.opening()
            if isinstance(held[-1], Failure):
                return held[-1]
            if body.get("stream") is True:
                return await _stream(request, body, exchange, held)
            return await _gather(request, body, exchange, held)

    async def _warm(self, line: Line, route: Route) -> Failure | None:
        """Have the model loaded, if it has to be and is not left to the request itself."""
        if route.is_resident or self._options.is_cold_dispatch:
            return None
        seen = await line.load(route.build)
        if seen is None:
            return DISCONNECTED if line.provider.ended else TIMED_OUT
        if seen.status == "succeeded":
            return None
        if classify_load(seen.error) in {LoadClass.OTHER, LoadClass.MODEL_NOT_FOUND}:
            return Failure(
                HTTPStatus.SERVICE_UNAVAILABLE, f"model could not be loaded: {seen.error}"
            )
        return Failure(HTTPStatus.SERVICE_UNAVAILABLE, f"model not loaded: {seen.error}")


async def _stream(
    request: web.Request, body: Json, exchange: Exchange, held: list[Step]
) -> web.StreamResponse:
    """Write the answer as it comes; a failure in its midst is an event of its own."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    names: Json = {
        "id": "",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": body["model"],
    }
    async for step in exchange.steps(held):
        match step:
            case Piece():
                chunk = client_chunk(step.fields, asked=str(body["model"]), endpoint=request.path)
                if chunk is not None:
                    names.update({name: chunk[name] for name in _NAMED if name in chunk})
                    await response.write(sse(chunk))
            case Failure():
                seen = client_error(step.status, step.error)
                await response.write(sse(error_body(step.error, kind=seen.kind)))
            case Finished():
                if wants_usage(body):
                    await response.write(sse(usage_chunk(step.usage, last=names)))
                await response.write(DONE)
    await response.write_eof()
    return response


async def _gather(
    request: web.Request, body: Json, exchange: Exchange, held: list[Step]
) -> web.StreamResponse:
    """Answer with one object, once it is whole."""
    chunks: list[Json] = []
    async for step in exchange.steps(held):
        match step:
            case Piece():
                chunk = client_chunk(step.fields, asked=str(body["model"]), endpoint=request.path)
                if chunk is not None:
                    chunks.append(chunk)
            case Failure():
                return _refused(step)
            case Finished():
                answer = whole(chunks, step.usage, model=str(body["model"]), endpoint=request.path)
                return web.json_response(answer)
    return _refused(DISCONNECTED)


def _is_worth_another_try(failure: Failure) -> bool:
    """Whether another provider could do better; nobody can with a request that is wrong."""
    if is_hopeless(failure.error):
        return False
    is_full = failure.status == HTTPStatus.TOO_MANY_REQUESTS
    return is_full or failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _refused(failure: Failure) -> web.Response:
    seen = client_error(failure.status, failure.error)
    headers = {} if seen.retry_after_s is None else {"Retry-After": str(seen.retry_after_s)}
    return web.json_response(
        error_body(failure.error, kind=seen.kind), status=seen.status, headers=headers
    )
