"""What is asked over HTTP and what is answered, as values: no socket, no framing.

A route takes an :class:`Asked` and gives an :class:`Answer`. Whatever is wrong with a question
is raised as :class:`NotAnswered`, which is an answer too.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import field
from typing import cast
from urllib.parse import parse_qsl

from ...config.frozen import frozen

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


@frozen
class Asked:
    """One question.

    Attributes:
        method: In capitals.
        path: Without its query.
        query: The last value of each name.
        headers: By name in small letters; the last value of each.
        body: As it came.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = field(default=b"", repr=False)

    def fields(self, *, known: Mapping[str, type | tuple[type, ...]]) -> Mapping[str, object]:
        """The body as a JSON object; an empty body is an empty one.

        Args:
            known: The fields that may be in it, with their types.

        Raises:
            NotAnswered: It is none, has others, or one of another type.
        """
        try:
            body: object = json.loads(self.body) if self.body.strip() else {}
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise NotAnswered(400, "bad_request", "the body has to be a JSON object")
        found = cast("dict[str, object]", body)
        for name, value in found.items():
            if name not in known:
                words = f"unknown field; known are: {', '.join(known) or 'none'}"
                raise NotAnswered(400, "bad_request", words)
            kind = known[name]
            is_flag = isinstance(value, bool)
            if not isinstance(value, kind) or (is_flag and kind is not bool):
                raise NotAnswered(400, "bad_request", f"{name} is of the wrong type")
        return found


@frozen
class Answer:
    """What is said to it.

    Attributes:
        body: Plain values for JSON; text; or pieces that come as they are made.
        kind: The media type.
        headers: What is said beside it.
    """

    body: object = field(repr=False)
    status: int = 200
    kind: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def encoded(self) -> bytes:
        """The body as bytes, if it comes whole."""
        if isinstance(self.body, str):
            return self.body.encode()
        return json.dumps(self.body, allow_nan=False).encode() + b"\n"

    @property
    def pieces(self) -> AsyncIterator[bytes] | None:
        """The body, if it comes in pieces."""
        if not isinstance(self.body, AsyncIterator):
            return None
        return cast("AsyncIterator[bytes]", self.body)


class NotAnswered(Exception):
    """A question that gets no answer but this one.

    Args:
        status: HTTP.
        code: A stable word.
        words: A sentence for a person.
    """

    def __init__(self, status: int, code: str, words: str) -> None:
        super().__init__(words)
        self.answer = Answer({"code": code, "words": words}, status)


Route = Callable[[Asked], Answer | Awaitable[Answer]]


@frozen
class Long:
    """A route whose questions may be long and whose answers take their time.

    It is left as soon as its client is, and the others are answered beside it.

    Attributes:
        most_body_bytes: A longer question is refused.
        said: A refusal as such a client expects it.
    """

    route: Route
    most_body_bytes: int
    said: Callable[[Answer], Answer]


Routes = Mapping[str, Mapping[str, Route | Long]]
"""By path, then by method; a path that ends in ``/`` stands for all below it."""


def asked(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Asked:
    """Put a question together from what came off a socket."""
    path, _, query = target.partition("?")
    return Asked(method, path, dict(parse_qsl(query, keep_blank_values=True)), headers, body)


def route_of(routes: Routes, question: Asked) -> Route | Long:
    """Who answers.

    Raises:
        NotAnswered: Nobody; 404 for a path, 405 for a method.
    """
    methods = routes.get(question.path)
    if methods is None:
        above = [path for path in routes if path.endswith("/") and question.path.startswith(path)]
        methods = routes[max(above, key=len)] if above else None
    if methods is None:
        raise NotAnswered(404, "not_found", f"known are {', '.join(sorted(routes))}")
    route = methods.get(question.method)
    if route is None:
        words = f"only {' and '.join(sorted(methods))} is answered here"
        raise NotAnswered(405, "method_not_allowed", words)
    return route
