"""Text frame to message and back; an unknown type is a value, not an error.

Reading never raises, whatever the bytes: what cannot be used is an :class:`.inbound.Unknown`
whose reason is made of our own words. Writing is compact, and refuses a frame that the
coordinator would answer by closing the socket.
"""

import re
from json.encoder import encode_basestring
from typing import cast

from pydantic import ValidationError
from pydantic_core import from_json

from .extensions import read_command
from .inbound import SHAPES, Inbound, Unknown, read
from .later import LATER
from .outbound import LoadModelStatus, Outbound

MAX_OUT_BYTES = 10 * 2**20
"""Largest frame a coordinator reads; it closes the socket with 1009 over a larger one."""

MAX_IN_BYTES = 32 * 2**20
"""Largest frame we read: a 16 MiB client body is 21.4 MiB once it is sealed."""

_WORD = re.compile(r"[a-z0-9_]{1,64}")


class FrameTooLarge(ValueError):
    """A message does not fit into one frame.

    Attributes:
        size_bytes: How long the frame would have been.
    """

    def __init__(self, *, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        super().__init__(f"frame of {size_bytes} bytes; the line takes {MAX_OUT_BYTES}")


def encode(message: Outbound) -> str:
    """Write a message as one compact JSON text.

    Raises:
        FrameTooLarge: It is longer than a coordinator reads.
    """
    if type(message) is LoadModelStatus and message.error is not None:
        return _bounded(_refusal(message.model_id, message.status, message.error))
    return _bounded(message.model_dump_json(exclude_none=True))


def _refusal(model: str, status: str, error: str) -> str:
    """How a load ends, byte for byte as its model writes itself; a storm asks for thousands."""
    return (
        f'{{"type":"load_model_status","model_id":{encode_basestring(model)},'
        f'"status":"{status}","error":{encode_basestring(error)}}}'
    )


def chunk_head(request_id: str, public_key: str) -> bytes:
    """What every chunk of one request begins with; see :func:`encode_chunk`.

    Args:
        request_id: As it came in the request.
        public_key: The registered key, never another.
    """
    return (
        '{"type":"inference_response_chunk","request_id":'
        f'{encode_basestring(request_id)},"encrypted_data":{{"ephemeral_public_key":'
        f'{encode_basestring(public_key)},"ciphertext":"'
    ).encode()


def encode_chunk(head: bytes, ciphertext: bytes) -> bytes:
    """Write one sealed chunk, byte for byte as :func:`encode` would, without a model.

    Args:
        head: From :func:`chunk_head`, once for each request.
        ciphertext: Base64, from :meth:`.sealing.RequestBox.seal`: nothing in it to be escaped.

    Raises:
        FrameTooLarge: It is longer than a coordinator reads.
    """
    frame = head + ciphertext + b'"}}'
    if len(frame) > MAX_OUT_BYTES:
        raise FrameTooLarge(size_bytes=len(frame))
    return frame


def decode(frame: str | bytes) -> Inbound:
    """Read one frame; never raises.

    Args:
        frame: UTF-8 JSON as it came off the socket. Of a name that is given twice the last
            value counts, as it does for the coordinator.
    """
    try:
        # plain ASCII, which every long frame is, is read in place: a copy costs 30 ms
        raw = frame if frame.isascii() or isinstance(frame, bytes) else frame.encode()
    except UnicodeEncodeError:
        return Unknown(type="", reason="not UTF-8")
    if len(raw) > MAX_IN_BYTES:
        return Unknown(type="", reason="frame too large")
    try:
        value: object = from_json(raw, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        return Unknown(type="", reason="not JSON")
    if not isinstance(value, dict):
        return Unknown(type="", reason="not an object")
    return _message(cast("dict[str, object]", value))


def _message(fields: dict[str, object]) -> Inbound:
    kind = fields.get("type")
    if not isinstance(kind, str):
        return Unknown(type="", reason="no type")
    shape = SHAPES.get(kind)
    try:
        if shape is not None:
            return read(shape, fields)
        command = read_command(kind, fields)
        if command is not None:
            return command
        if kind in LATER:
            return LATER[kind].model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # places are our field names and list positions, types are pydantic's words
        place = ".".join(str(step) for step in first["loc"])
        return Unknown(type=kind, reason=f"{place}: {first['type']}")
    return Unknown(type=kind if _WORD.fullmatch(kind) else "", reason="unknown type")


def _bounded(text: str) -> str:
    size_bytes = len(text) if text.isascii() else len(text.encode())
    if size_bytes > MAX_OUT_BYTES:
        raise FrameTooLarge(size_bytes=size_bytes)
    return text
