"""JSON of strangers, which may mean harm (pure)."""

import json
from typing import cast

MOST_VALUES = 2**20
"""A model of 20,000 files with the digests of their pieces, and the index of 200,000 tensors, have
less."""


class TooMuch(ValueError):
    """It has more values than anything that is read here."""

    def __init__(self) -> None:
        super().__init__(f"has more than {MOST_VALUES} values")


def parsed(data: bytes) -> object:
    """What a text says, if that takes no more than a few times its own length.

    A list in a list takes 28 times as much as its two brackets, so values are counted first.

    Args:
        data: UTF-8 JSON.

    Raises:
        TooMuch: See there.
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise TooMuch
    return cast("object", json.loads(data))


def readable(data: bytes) -> object:
    """The same; ``None`` if nothing can be read, whatever the reason."""
    try:
        return parsed(data)
    except (ValueError, RecursionError):
        return None
