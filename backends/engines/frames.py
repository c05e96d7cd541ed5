"""Messages as bytes, between an engine and its child process (pure).

A frame is four bytes of length, little-endian, and a JSON array: a tag, then the fields of
one message in order. Both sides are of one version, so nothing is tolerated: whatever is not
exactly a message is a :class:`FrameBroken`, and a decoder that met one stays broken.
"""

import json
from collections.abc import Callable, Mapping
from typing import Generic, TypeGuard, TypeVar, cast

from .base import FinishReason, ToolCall
from .messages import (
    AskStats,
    Begun,
    Cancel,
    Ended,
    FromChild,
    Generate,
    Hello,
    LoadFailed,
    LoadFault,
    LoadModel,
    Message,
    ModelLoaded,
    Progress,
    Quit,
    RefusalKind,
    Refused,
    Row,
    Stats,
    Take,
    Tick,
    ToChild,
    Tokens,
    Unload,
    Unloaded,
)

TO_CHILD_BYTES = 64 * 2**20
"""Longest frame to a child: a request body as large as the wire allows, with escapes."""

FROM_CHILD_BYTES = 8 * 2**20
"""Longest frame from a child."""

_PREFIX_BYTES = 4
_ROW_FIELDS = 5

M = TypeVar("M")


class FrameBroken(ValueError):
    """These bytes are no message; they are never repeated in the text."""


class FrameTooLong(FrameBroken):
    """A message that does not fit into a frame."""


def encode(message: ToChild | FromChild, *, limit_bytes: int = TO_CHILD_BYTES) -> bytes:
    """One frame.

    Raises:
        FrameTooLong: It would be longer than ``limit_bytes``.
        FrameBroken: It holds what JSON cannot.
    """
    try:
        text = _WRITTEN.encode([message.TAG, *_fields(message)])
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"a {message.TAG} message cannot be said in JSON"
        raise FrameBroken(problem) from error
    if len(text) > limit_bytes:
        problem = f"a {message.TAG} message of {len(text)} bytes; {limit_bytes} are allowed"
        raise FrameTooLong(problem)
    return len(text).to_bytes(_PREFIX_BYTES, "little") + text.encode("ascii")


def _fields(value: object) -> list[object]:
    """The fields of a dataclass in order.

    Raises:
        TypeError: It is none.
    """
    if isinstance(value, Message | Row | ToolCall):
        return [cast("object", getattr(value, name)) for name in value.__match_args__]
    problem = "not a part of any message"
    raise TypeError(problem)


_WRITTEN = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_fields)


class Decoder(Generic[M]):
    """Bytes in, messages out, whichever way the bytes are cut.

    Args:
        parse: :func:`to_child` or :func:`from_child`.
        limit_bytes: A longer frame is refused by its length alone, before it is kept.
    """

    def __init__(self, parse: Callable[[list[object]], M], *, limit_bytes: int) -> None:
        self._parse = parse
        self._limit_bytes = limit_bytes
        self._kept = bytearray()
        self._broken = False

    def feed(self, data: bytes) -> list[M]:
        """The messages that are whole now, in order.

        Raises:
            FrameBroken: Something in it is no message; nothing after it can be read.
        """
        if self._broken:
            problem = "the stream was broken before"
            raise FrameBroken(problem)
        try:
            if not self._kept:  # most frames come whole
                messages, at = self._cut(data)
                self._kept += data[at:]
            else:
                self._kept += data
                messages, at = self._cut(self._kept)
                del self._kept[:at]
        except FrameBroken:
            self._broken = True
            self._kept.clear()
            raise
        return messages

    def _cut(self, data: bytes | bytearray) -> tuple[list[M], int]:
        messages: list[M] = []
        at = 0
        while len(data) - at >= _PREFIX_BYTES:
            length = int.from_bytes(data[at : at + _PREFIX_BYTES], "little")
            if length > self._limit_bytes:
                problem = f"a frame of {length} bytes; {self._limit_bytes} are allowed"
                raise FrameBroken(problem)
            end = at + _PREFIX_BYTES + length
            if len(data) < end:
                break
            messages.append(self._parse(_document(data[at + _PREFIX_BYTES : end])))
            at = end
        return messages, at


def _document(text: bytes | bytearray) -> list[object]:
    try:
        value, end = _JSON.raw_decode(whole := text.decode())
        if end != len(whole):
            raise _no_message()
        return _array(cast("object", value))
    except (ValueError, RecursionError) as error:
        problem = "a frame that is no JSON"
        raise FrameBroken(problem) from error


def _no_constant(name: str) -> object:
    raise ValueError(name)


_JSON = json.JSONDecoder(parse_constant=_no_constant)


def to_child(document: list[object]) -> ToChild:
    """Read one message to a child.

    Raises:
        FrameBroken: It is none.
    """
    match document:
        case ["generate", int(answer), "chat", body, int(most), (int() | float()) as beat]:
            return Generate(answer, "chat", _object(body), most, beat)
        case ["generate", int(answer), "text", body, int(most), (int() | float()) as beat]:
            return Generate(answer, "text", _object(body), most, beat)
        case ["cancel", int(answer)]:
            return Cancel(answer)
        case ["stats"]:
            return AskStats()
        case ["load", str(folder), (int() | None) as context, int(step), int(running), int(kept)]:
            return LoadModel(folder, context, step, running, kept)
        case ["take", [str(arriving), str(whole)], names]:
            return Take((arriving, whole), tuple(_text(name) for name in _array(names)))
        case ["unload"]:
            return Unload()
        case ["quit"]:
            return Quit()
        case _:
            raise _no_message()


def from_child(document: list[object]) -> FromChild:
    """Read one message from a child.

    Raises:
        FrameBroken: It is none.
    """
    match document:
        case ["tok", rows]:
            return Tokens(tuple([_row(_array(row)) for row in _array(rows)]))
        case ["started" | "end" | "error", *_]:
            return _of_an_answer(document)
        case ["stats", *_]:
            return _stats(document)
        case ["tick"]:
            return Tick()
        case ["unloaded"]:
            return Unloaded()
        case _:
            return _of_a_load(document)


def _of_an_answer(document: list[object]) -> Begun | Ended | Refused:
    match document:
        case ["started", int(answer), int(prompt)]:
            return Begun(answer, prompt)
        case ["end", int(answer), reason, int(prompt), int(said), (int() | None) as reasoning] if (
            _is_reason(reason)
        ):
            return Ended(answer, reason, prompt, said, reasoning)
        case ["error", int(answer), kind, str(reason), int(prompt), int(context)] if _is_refusal(
            kind
        ):
            return Refused(answer, kind, reason, prompt, context)
        case _:
            raise _no_message()


def _of_a_load(document: list[object]) -> Hello | Progress | ModelLoaded | LoadFailed:
    match document:
        case ["hello", str(version), str(device)]:
            return Hello(version, device)
        case ["progress", int(done), int(total)]:
            return Progress(done, total)
        case ["loaded", (int() | None) as context, (int() | None) as memory]:
            return ModelLoaded(context, memory)
        case ["load_failed", kind, str(reason)] if _is_fault(kind):
            return LoadFailed(kind, reason)
        case _:
            raise _no_message()


def _row(document: list[object]) -> Row:
    # one comes for each token, so by the fewest steps: a pattern takes three times as long
    if len(document) != _ROW_FIELDS:
        raise _no_message()
    answer, tokens, text, reasoning, calls = document
    if type(answer) is not int or type(tokens) is not int or tokens < 0:
        raise _no_message()
    if type(text) is not str or type(reasoning) is not str or type(calls) is not list:
        raise _no_message()
    listed = cast("list[object]", calls)
    made = tuple(_call(_array(call)) for call in listed) if listed else ()
    return Row(answer, tokens, text, reasoning, made)


def _call(document: list[object]) -> ToolCall:
    match document:
        case [str(call), str(name), str(arguments)]:
            return ToolCall(call, name, arguments)
        case _:
            raise _no_message()


def _stats(document: list[object]) -> Stats:
    match document[1:]:
        case [
            int(running),
            int(waiting),
            int(active),
            int(used),
            int(generated),
            (int() | None) as kv,
            (int() | float() | None) as decode,
            (int() | float() | None) as prefill,
            (int() | None) as memory,
            (int() | None) as peak,
            (int() | None) as cache,
        ]:
            return Stats(
                running, waiting, active, used, generated, kv, decode, prefill, memory, peak, cache
            )
        case _:
            raise _no_message()


def _is_reason(word: object) -> TypeGuard[FinishReason]:
    return word in ("stop", "length", "tool_calls")


def _is_refusal(word: object) -> TypeGuard[RefusalKind]:
    return word in ("bad_request", "context")


def _is_fault(word: object) -> TypeGuard[LoadFault]:
    return word in ("bad_model", "out_of_memory")


def _array(value: object) -> list[object]:
    if isinstance(value, list):
        return cast("list[object]", value)
    raise _no_message()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _no_message()
    return value


def _object(value: object) -> Mapping[str, object]:
    if isinstance(value, dict):
        return cast("Mapping[str, object]", value)
    raise _no_message()


def _no_message() -> FrameBroken:
    return FrameBroken("a frame that is no message")
