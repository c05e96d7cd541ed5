"""What is asked of providers, as far as all dialects agree (pure).

A dialect has two halves: one makes a :class:`Call` of a request, the other is a
:class:`~.chat_pieces.Reader` of the answer. Whatever is wrong with a request is said in closed
words.
"""

import json
from collections.abc import Mapping
from dataclasses import field
from typing import TypeAlias, cast

from ...config.frozen import frozen
from .asked import ROLES, BadRequest, mapping

Json: TypeAlias = Mapping[str, object]


@frozen
class Call:
    """One request to a provider; its body has been checked as far as the dialect needs it.

    Attributes:
        target: Path and query.
        headers: The dialect's own; the key is not among them.
    """

    target: str
    headers: Mapping[str, str]
    body: Json = field(repr=False)

    def encoded(self) -> bytes:
        """The body as it is sent.

        Raises:
            BadRequest: It holds what JSON has no word for, or half a character.
        """
        try:
            text = json.dumps(self.body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (ValueError, TypeError, RecursionError):
            raise BadRequest(field="the body", must="be plain JSON") from None
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise BadRequest(field="all text", must="be valid Unicode") from None


def rows(value: object) -> list[Json]:
    """The objects of an array; whatever else stands there is left out."""
    if not isinstance(value, list):
        return []
    return [cast("Json", one) for one in cast("list[object]", value) if isinstance(one, dict)]


def text(value: object) -> str:
    """The text, or none."""
    return value if isinstance(value, str) else ""


def taken(parts: list[str]) -> str:
    """The parts as one text of whole characters.

    Servers that count in UTF-16 may cut a character in two. What is taken leaves the list; half
    of a character at the end stays there until its other half comes.
    """
    words = "".join(parts)
    parts.clear()
    if words.isascii():
        return words
    if "\ud800" <= words[-1] <= "\udbff":
        parts.append(words[-1])
        words = words[:-1]
    try:
        _ = words.encode()
    except UnicodeEncodeError:
        return words.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return words


def messages(body: Json) -> list[Json]:
    """The messages of a chat, each with a known role.

    Raises:
        BadRequest: There are none, or one of them is none.
    """
    listed = array(body.get("messages"), "messages")
    if not listed:
        raise BadRequest(field="messages", must="not be empty")
    for message in listed:
        if not isinstance(message, dict):
            raise BadRequest(field="each message", must="be an object")
        role = cast("Json", message).get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise BadRequest(field="each message", must="have a known role")
    return [cast("Json", message) for message in listed]


def tools(body: Json) -> list[Json]:
    """The functions of a chat's tools, each with a name.

    Raises:
        BadRequest: A tool is no function, or has no name.
    """
    if body.get("tools") is None:
        return []
    found: list[Json] = []
    for tool in array(body["tools"], "tools"):
        function = mapping(mapping(tool).get("function"))
        if not isinstance(function.get("name"), str):
            raise BadRequest(field="each tool", must="name a function")
        if not isinstance(function.get("parameters", {}), dict | None):
            raise BadRequest(field="parameters of a tool", must="be an object")
        found.append(function)
    return found


def array(value: object, name: str) -> list[object]:
    """The array that a field of a request has to be.

    Raises:
        BadRequest: It is none.
    """
    if not isinstance(value, list):
        raise BadRequest(field=name, must="be an array")
    return cast("list[object]", value)
