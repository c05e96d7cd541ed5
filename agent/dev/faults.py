"""Faults on demand: what a store, or the network before it, does wrong when told to.

A fault names the requests that it strikes and what happens to them. :class:`Faults` only
counts and answers; the store carries the answer out.
"""

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, TypeAdapter

Operation = Literal["get", "head", "list"]


class Fault(BaseModel):
    """Which requests are struck, and how; several effects may be given at once.

    Attributes:
        on: The operation that is struck.
        key: Glob over object keys; over the prefix when a listing is struck.
        every: Strike each Kth matching request only.
        first: Strike none after the first N matching requests.
        latency_ms: Wait before the first byte.
        bytes_per_s: Bodies come no faster than this; 0 is no limit.
        status: Answer with this HTTP status instead.
        code: S3's word for ``status``; the usual one if empty.
        retry_after_s: Tell the client to wait that long; with ``status`` only.
        reset_after_bytes: Reset the connection after that much of the body.
        end_after_bytes: Close it politely after that much: a short body.
        stall_after_bytes: Send that much of the body, then nothing, for ever.
        flip_byte_at: Offset in the object of a byte that comes out with one bit changed.
        ignore_range: Answer 200 with the whole object.
        wrong_content_range: Name a range one byte later than the one that is sent.
        replace_after_gets: After N GETs of a key, the object is another of the same size.
        close_connection: Say ``Connection: close`` and do so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: Operation | Literal["any"] = "get"
    key: str = "*"
    every: PositiveInt = 1
    first: PositiveInt | None = None
    latency_ms: NonNegativeInt = 0
    bytes_per_s: NonNegativeInt = 0
    status: int | None = Field(default=None, ge=400, le=599)
    code: str = ""
    retry_after_s: NonNegativeInt | None = None
    reset_after_bytes: NonNegativeInt | None = None
    end_after_bytes: NonNegativeInt | None = None
    stall_after_bytes: NonNegativeInt | None = None
    flip_byte_at: NonNegativeInt | None = None
    ignore_range: bool = False
    wrong_content_range: bool = False
    replace_after_gets: NonNegativeInt | None = None
    close_connection: bool = False

    def concerns(self, operation: Operation, key: str) -> bool:
        """Whether it is about such a request at all."""
        return self.on in {operation, "any"} and fnmatchcase(key, self.key)


NO_FAULT = Fault()

_MANY = TypeAdapter(list[Fault])


def read_faults(text: bytes | str) -> list[Fault]:
    """Faults from JSON: a list of them, or one alone.

    Raises:
        pydantic.ValidationError: It is no such JSON.
    """
    if text.strip()[:1] in {b"{", "{"}:
        return [Fault.model_validate_json(text)]
    return _MANY.validate_json(text)


class Faults:
    """The faults in force and how often each was met.

    Args:
        faults: The first ones.
    """

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self.put(faults)

    def put(self, faults: Sequence[Fault]) -> None:
        """Replace all faults; every count begins anew, a replaced object is itself again."""
        self._faults = tuple(faults)
        self._met = [0] * len(self._faults)
        self._gets = Counter[str]()

    @property
    def in_force(self) -> Sequence[Fault]:
        """The faults as they were put."""
        return self._faults

    def strike(self, operation: Operation, key: str) -> Fault:
        """Count one request, and say all that happens to it as one fault.

        Where several faults set the same effect, the last one holds.
        """
        effects: dict[str, object] = {}
        for at, fault in enumerate(self._faults):
            if not fault.concerns(operation, key):
                continue
            self._met[at] += 1
            met = self._met[at]
            if met % fault.every == 0 and (fault.first is None or met <= fault.first):
                effects |= fault.model_dump(exclude_unset=True)
        if operation == "get":
            self._gets[key] += 1
        return Fault.model_validate(effects) if effects else NO_FAULT

    def is_replaced(self, key: str) -> bool:
        """Whether the object was replaced by the GETs counted so far."""
        return any(
            fault.replace_after_gets is not None
            and fnmatchcase(key, fault.key)
            and self._gets[key] >= fault.replace_after_gets
            for fault in self._faults
        )
