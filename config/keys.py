"""A key as people write it: which value it names, and what may stand there."""

import re
from collections.abc import Sequence

from .frozen import frozen
from .lines import KeyPath
from .problems import dotted, entry_of, leaves, nearest, table_of
from .section import Field, Section
from .settings import Settings

_PART = re.compile(r"([A-Za-z0-9_-]+)(?:\[([^\]]+)\])?(?:\.|$)")


@frozen
class Key:
    """One key of the configuration.

    Attributes:
        at: Its path, such as ``("models", 0, "pinned")``.
        field: What the settings say of it; ``None`` for a whole table.
    """

    at: KeyPath
    field: Field | None


class NoSuchKey(Exception):
    """Nothing has this name; the message is for people."""

    def __init__(self, *, key: str, suggestion: str) -> None:
        super().__init__(f"there is no key {key}" + (f" ({suggestion})" if suggestion else ""))


def key_of(text: str, models: Sequence[str] = ()) -> Key:
    """Understand ``slots.max_model_slots``, ``models[0].ref`` or ``models[org/a].pinned``.

    Args:
        text: What a person wrote.
        models: The ids of ``[[models]]``, in order.

    Raises:
        NoSuchKey: No key and no table has that name; with the nearest that has.
    """
    at: list[str | int] = []
    table: type[Section] | None = Settings
    field: Field | None = None
    end = 0
    for found in _PART.finditer(text):
        if found.start() != end or table is None:
            raise _unknown(text)
        end = found.end()
        name, item = found[1], found[2]
        field = table.model_fields.get(name)
        if field is None:
            raise _unknown(text)
        at.append(name)
        entry = entry_of(field)
        if item is not None:
            at.append(_item(text, item, models if entry else ()))
            table = entry
        else:
            table = table_of(field)
    if not at or end != len(text) or text.endswith("."):
        raise _unknown(text)
    return Key(tuple(at), None if table is not None else field)


def _item(text: str, item: str, models: Sequence[str]) -> int:
    nth = int(item) if item.isascii() and item.isdigit() else -1
    if item in models:
        return models.index(item)
    if 0 <= nth < len(models):
        return nth
    raise NoSuchKey(key=text, suggestion=nearest(item, models))


def _unknown(text: str) -> NoSuchKey:
    known = [dotted(at) for at, _ in leaves(Settings)]
    name = text.rpartition(".")[2]
    homes = [key for key in known if key.rpartition(".")[2] == name]
    return NoSuchKey(
        key=text, suggestion=f"did you mean {homes[0]}?" if homes else nearest(text, known)
    )
