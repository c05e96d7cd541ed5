"""Additions to the protocol: what a coordinator may ask beyond it, and what we answer.

A coordinator that does not know them is never sent one: each of ours is the answer to one of
its own, on the same line. ``docs/protocol-extensions.md`` is written from here.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, TypeAlias, cast

from pydantic import BeforeValidator, Field

from .types import Count, Strict, Text, Tolerant

VERSION = 1
"""What ``register.extensions`` announces."""

MAX_ROWS = 1024

Name = Annotated[str, Field(min_length=1, max_length=1024)]
Epoch = Annotated[int, Field(ge=0, le=2**62)]
Seconds = Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)]


def _rows(value: object) -> object:
    """A JSON list as a tuple."""
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


class AssignPool(Tolerant):
    """Serve another pool, or choose again.

    Attributes:
        pool: A pool key; absent or ``null``: the node chooses for itself.
        epoch: Higher than the one in force, or the same for a repetition.
        models: The builds of the pool that are meant; empty: all of them.
        preload: The build to load.
        expires_at: RFC 3339; what is not done by then is undone.
    """

    type: Literal["assign_pool"] = "assign_pool"
    pool: Name | None = None
    epoch: Epoch
    models: Annotated[tuple[Name, ...], BeforeValidator(_rows), Field(max_length=MAX_ROWS)] = ()
    preload: Name | None = None
    expires_at: Annotated[str, Field(max_length=64)] | None = None


class UnloadModel(Tolerant):
    """Give the model's memory back, if it is idle and not pinned."""

    type: Literal["unload_model"] = "unload_model"
    model_id: Name


class CancelLoad(Tolerant):
    """Give up a load on its way; the bytes that are here stay, and so does what is resident."""

    type: Literal["cancel_load"] = "cancel_load"
    model_id: Name


class Drain(Tolerant):
    """Finish what runs and take nothing new, until ``undrain`` or the end of this line.

    Attributes:
        deadline_s: Answers that run longer than this are cancelled; absent: never.
    """

    type: Literal["drain"] = "drain"
    deadline_s: Seconds | None = None


class Undrain(Tolerant):
    """Take work again."""

    type: Literal["undrain"] = "undrain"


Command: TypeAlias = AssignPool | UnloadModel | CancelLoad | Drain | Undrain
"""What a coordinator may ask beyond the protocol."""

COMMANDS: Mapping[str, type[Command]] = MappingProxyType(
    {
        "assign_pool": AssignPool,
        "unload_model": UnloadModel,
        "cancel_load": CancelLoad,
        "drain": Drain,
        "undrain": Undrain,
    }
)
"""The word on the wire, and the message it stands for."""


class AssignPoolStatus(Strict):
    """What becomes of an ``assign_pool``; ``draining`` is followed by another.

    Attributes:
        pool: As asked.
        epoch: The one that holds now.
        assigned: The pool key that holds now.
    """

    type: Literal["assign_pool_status"] = "assign_pool_status"
    pool: Text | None = None
    epoch: Count
    status: Literal["draining", "applied", "refused", "failed"]
    error: Text | None = None
    assigned: Text | None = None


class UnloadModelStatus(Strict):
    """What becomes of an ``unload_model``; ``unloading`` is followed by ``unloaded``."""

    type: Literal["unload_model_status"] = "unload_model_status"
    model_id: Text
    status: Literal["unloading", "unloaded", "refused"]
    error: Text | None = None


class CancelLoadStatus(Strict):
    """What becomes of a ``cancel_load``: given up, not on its way, or still wanted."""

    type: Literal["cancel_load_status"] = "cancel_load_status"
    model_id: Text
    status: Literal["cancelled", "not_loading", "refused"]
    error: Text | None = None


class DrainStatus(Strict):
    """How a drain goes; ``draining`` is followed by ``drained`` or ``undrained``."""

    type: Literal["drain_status"] = "drain_status"
    status: Literal["draining", "drained", "undrained", "refused"]
    in_flight: Count


Answer: TypeAlias = AssignPoolStatus | UnloadModelStatus | CancelLoadStatus | DrainStatus
"""What we answer."""


def read_command(kind: str, fields: Mapping[str, object]) -> Command | None:
    """A command of its frame's fields; ``None`` if the word is none of them.

    ``assign_model``, an older name, is ``assign_pool`` for the pool of one model.

    Raises:
        pydantic.ValidationError: A field that is needed is missing or of the wrong type.
    """
    if kind == "assign_model":
        model = fields.get("model_id")
        asked = {"pool": model, "preload": model, "epoch": fields.get("epoch")}
        return AssignPool.model_validate(asked)
    shape = COMMANDS.get(kind)
    return None if shape is None else shape.model_validate(fields)
