"""Adapters: small weights that a request asks for by a name of their own (LoRA).

In a file they are lines ``NAME=REF``; the model that they belong to has them in its
``[models.serving]``.
"""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated

from .errors import RefInvalid
from .frozen import frozen
from .refs import ModelRef
from .rules import Bound

MOST = 16
"""Adapters of one model: each takes memory of the engine, used or not."""

_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._/:@+-]{0,255})=(\S.*)")

AdapterLine = Annotated[str, Bound(max_length=2048)]


@frozen
class Adapter:
    """One adapter.

    Attributes:
        name: What a request calls it, on the wire too.
        ref: Where its weights live.
    """

    name: str
    ref: ModelRef


def adapter(line: str) -> Adapter:
    """What a line says.

    Raises:
        ValueError: It is not ``NAME=REF``.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        problem = "must be NAME=REF, such as org/model-legal=s3://bucket/adapters/legal"
        raise ValueError(problem)
    try:
        return Adapter(found[1], ModelRef.parse(found[2]))
    except RefInvalid as error:
        raise ValueError(error.reason) from error


def checked(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The lines themselves, if each is one and no name is there twice.

    Raises:
        ValueError: They are not.
    """
    if len(lines) > MOST:
        problem = f"a model has {MOST} adapters at most"
        raise ValueError(problem)
    if twice := doubled(adapter(line).name for line in lines):
        problem = f"two adapters have the name {twice!r}"
        raise ValueError(problem)
    return lines


def doubled(names: Iterable[str]) -> str | None:
    """The first name, by the alphabet, that is there more than once."""
    listed = sorted(names)
    return next((one for one, next_ in pairwise(listed) if one == next_), None)
