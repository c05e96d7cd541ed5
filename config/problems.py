"""What is wrong with a configuration, in sentences that name the line and the way out.

The validator speaks of types and locations; an operator wrote ``hearbeat_interval_s = "5"``
on line 4. This file translates. No value is ever quoted, for a token may stand in the wrong
place.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType, NoneType, UnionType
from typing import cast, get_args

from .errors import ConfigInvalid
from .frozen import frozen
from .layers import Written
from .lines import KeyPath
from .rules import Fault, Invalid
from .section import Field, Section
from .settings import ModelEntry, Settings

_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "string_type": "must be text in quotes",
        "int_type": "must be a whole number",
        "float_type": "must be a number",
        "bool_type": "must be true or false",
        "finite_number": "must be a finite number",
        "tuple_type": 'must be an array, such as ["a", "b"]',
        "model_type": "must be a table",
        "greater_than": "must be more than {gt}",
        "greater_than_equal": "must be {ge} or more",
        "less_than_equal": "must be {le} or less",
        "string_too_short": "must not be empty",
        "string_too_long": "must not be longer than {max_length} characters",
        "string_pattern_mismatch": "must match {pattern}",
        "missing": "is missing",
    }
)

_FEW = 8
"""So many keys of a table are named for one that comes near none of them."""


@frozen
class Problem:
    """One thing that has to be mended.

    Attributes:
        place: A file's path, or ``environment variable NAME``.
        line: 1 for the first; ``None`` where no line is to blame.
        suggestion: What may have been meant; empty if nothing comes near.
        column: 1 for the first; 0 where no line is to blame.
    """

    place: str
    line: int | None
    words: str
    suggestion: str = ""
    column: int = 0

    def error(self, others: tuple[str, ...] = ()) -> ConfigInvalid:
        """The problem as the failure that it is."""
        return ConfigInvalid(
            path=self.place,
            line=self.line,
            problem=self.words,
            suggestion=self.suggestion,
            column=self.column,
            others=others,
        )


@frozen
class Places:
    """Where each value was written.

    Attributes:
        path: The first configuration file.
        written: Where the files have their keys.
        variables: Environment variables by the key that they set.
    """

    path: str
    written: Mapping[KeyPath, Written]
    variables: Mapping[KeyPath, str]

    def problem(
        self, at: KeyPath, words: str, suggestion: str = "", *, of_key: bool = False
    ) -> Problem:
        """A problem with a value, told where it was written; or with its very key."""
        for end in range(len(at), 0, -1):
            if variable := self.variables.get(at[:end]):
                return Problem(f"environment variable {variable}", None, words, suggestion)
            if spot := self.written.get(at[:end]):
                place = (spot.line, spot.column)
                if not of_key and end == len(at):
                    place = (spot.value_line, spot.value_column)
                return Problem(spot.path, place[0], words, suggestion, place[1])
        return Problem(self.path, None, words, suggestion)


def leaves(
    section: type[Section], at: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Field]]:
    """Every key below a table that holds a value, with its path; ``models`` is one value."""
    for name, field in section.model_fields.items():
        inner = table_of(field)
        if inner is None:
            yield (*at, name), field
        else:
            yield from leaves(inner, (*at, name))


def table_of(field: Field) -> type[Section] | None:
    """The table that a key holds, or may hold; ``None`` if it holds a value."""
    kind = field.annotation
    if isinstance(kind, UnionType):
        kind = next((one for one in get_args(kind) if one is not NoneType), kind)
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def dotted(at: KeyPath) -> str:
    """A path as people write it, such as ``models[0].ref``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in at)
    return text.removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str:
    """A suggestion for a misspelled word; empty if nothing comes near."""
    found = _closest(word, known, 0.6)
    return f"did you mean {found}?" if found else ""


def _closest(word: str, known: Iterable[str], cutoff: float) -> str | None:
    from difflib import get_close_matches  # noqa: PLC0415  # only where there is a mistake

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)


def of_validation(error: Invalid, places: Places) -> list[Problem]:
    """Every problem that the validator found."""
    return [_told(one, places) for one in error.faults]


def _told(one: Fault, places: Places) -> Problem:
    at = one.at
    match one.kind:
        case "extra_forbidden":
            return places.problem(at, f"unknown key {dotted(at)}", _near_key(at), of_key=True)
        case "value_error":
            words = str(one.facts["error"])
            at = _second_twin(one) if at == ("models",) else _culprit(at, words, places)
            return places.problem(at, f"{dotted(one.at)}: {words}")
        case "missing" if at == ("coordinator",):
            words = "there is no [coordinator]; its url says whom this node calls"
            return places.problem(at, words)
        case "tuple_type" if _repeats_a_table(at):
            words = f"{dotted(at)} must be an array of tables"
            return places.problem(at, words, f"begin each with [[{dotted(at)}]]")
        case "literal_error":
            known = cast("tuple[str, ...]", one.facts["expected"])
            words = f"{dotted(at)} must be one of {', '.join(known)}"
            near = nearest(one.given, known) if isinstance(one.given, str) else ""
            return places.problem(at, words, near)
        case kind:
            bounds = {
                name: _plain(bound) if isinstance(bound, float) else str(bound)
                for name, bound in one.facts.items()
            }
            return places.problem(at, f"{dotted(at)} {_WORDS[kind].format_map(bounds)}")


def _plain(bound: float) -> str:
    return str(int(bound)) if bound.is_integer() else f"{bound:g}"


def _culprit(at: KeyPath, words: str, places: Places) -> KeyPath:
    """The key that a sentence about a whole table speaks of, if that key was written."""
    inside = [(*at, word) for word in re.findall(r"\w+", words)]
    written = {*places.written, *places.variables}
    return next((path for path in inside if path in written), at)


def _second_twin(one: Fault) -> KeyPath:
    """The entry that repeats the id of one before it."""
    seen: list[object] = []
    for nth, entry in enumerate(cast("tuple[ModelEntry, ...]", one.given)):
        if entry.id in seen:
            return ("models", nth, "id")
        seen.append(entry.id)
    return ("models",)


def _near_key(at: KeyPath) -> str:
    table, key = _table_at(at[:-1]), str(at[-1])
    near = nearest(key, table.model_fields) if table else ""
    if near:
        return near
    homes = [path for path, _ in leaves(Settings) if path[-1] == key]
    if homes:
        return f"there is one in [{dotted(homes[0][:-1])}]"
    every = {path[-1]: path for path, _ in leaves(Settings)}
    close = _closest(key, every, 0.8)
    if close:
        return f"did you mean {dotted(every[close])}?"
    return _all_of(key, [*table.model_fields]) if table else ""


def _all_of(key: str, known: Sequence[str]) -> str:
    """A key without its unit, or with another's; else all that there are, if they are few."""
    cut = {name[: len(key)]: name for name in known}
    close = _closest(key, cut, 0.8)
    if close:
        return f"did you mean {cut[close]}?"
    return f"known here are {', '.join(known)}" if len(known) <= _FEW else ""


def _table_at(at: KeyPath) -> type[Section] | None:
    table: type[Section] | None = Settings
    for key in at:
        if table is None:
            return None
        if isinstance(key, int):
            continue
        field = table.model_fields.get(key)
        table = None if field is None else table_of(field) or entry_of(field)
    return table


def _repeats_a_table(at: KeyPath) -> bool:
    table = _table_at(at[:-1])
    field = table.model_fields.get(str(at[-1])) if table else None
    return field is not None and entry_of(field) is not None


def entry_of(field: Field) -> type[Section] | None:
    """The table that an array of tables repeats; ``None`` for all other keys."""
    inner = cast("tuple[object, ...]", get_args(field.annotation))
    first = inner[0] if inner else None
    return first if isinstance(first, type) and issubclass(first, Section) else None
