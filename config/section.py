"""Tables of a file as frozen values, held to what their annotations say.

A table's rules stand beside its keys and nowhere else: a type, and the marks of :mod:`.rules`. All
that a TOML file can hold is understood, and no more: text, numbers, true and false, words of a
list, arrays, tables. Types are strict and unknown keys refused: nothing is read as what was not
meant.

The frames on the wire are another library's business. To import it takes longer than a verb of the
command line that only looks may take all in all; its names for copies and fields are kept here.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from types import MappingProxyType, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NoReturn,
    Self,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
)

from .frozen import frozen
from .lines import KeyPath
from .rules import After, Bound, Check, Fault, Invalid


class _Unwritten:
    """Stands for the default of a key: that it has none, or that of a table."""


REQUIRED, ABSENT = _Unwritten(), _Unwritten()


def absent() -> Any:  # noqa: ANN401  # a default of whatever table it stands for
    """A table that need not be written: as if it had been, with nothing in it."""
    return ABSENT


@frozen
class Field:
    """What a table says of one key.

    Attributes:
        kind: Its annotation, bounds and all.
        given: Its default; ``REQUIRED``, ``ABSENT``.
        checks: What looks at a value that was written.
    """

    kind: object
    given: object
    checks: tuple[Callable[[Any], object], ...]

    @property
    def annotation(self) -> object:
        """Its type, without the marks that stand around it."""
        args = get_args(self.kind)
        return cast("object", args[0]) if get_origin(self.kind) is Annotated else self.kind

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.given is REQUIRED

    @property
    def default(self) -> object:
        """What holds if it is not written; for a table, that table with nothing in it."""
        return (
            _empty(cast("type[Section]", self.annotation)) if self.given is ABSENT else self.given
        )


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Section:
    """Base of every table of the file.

    Attributes:
        model_fields: Its keys, in order.
        wholes: What looks at it as a whole.
    """

    model_fields: ClassVar[Mapping[str, Field]] = MappingProxyType({})
    wholes: ClassVar[tuple[Callable[[Any], object], ...]] = ()

    def __init_subclass__(cls) -> None:
        """Gather what the table says of its keys."""
        own = vars(cls)
        found = [one for one in own.values() if isinstance(one, Check)]
        cls.model_fields = MappingProxyType(
            {
                name: Field(
                    cast("object", kind),
                    own.get(name, REQUIRED),
                    tuple(one.run for one in found if one.key == name),
                )
                for name, kind in cls.__annotations__.items()
            }
        )
        cls.wholes = tuple(one.run for one in found if not one.key)

    def __init__(self, **given: object) -> None:
        """Take values by name.

        Raises:
            Invalid: They cannot stand there.
        """
        faults: list[Fault] = []
        self.__dict__.update(_values(type(self), given, (), faults))
        if not faults:
            _look(self, given, (), faults)
        if faults:
            raise Invalid(type(self).__name__, tuple(faults))

    @classmethod
    def model_validate(cls, data: object) -> Self:
        """Make one of plain values, as TOML or JSON has them.

        Raises:
            Invalid: They cannot stand there.
        """
        faults: list[Fault] = []
        made = _taken(cls, data, (), faults)
        if faults:
            raise Invalid(cls.__name__, tuple(faults))
        return cast("Self", made)

    def model_copy(self, *, update: Mapping[str, object]) -> Self:
        """The same with other values, which are taken as they are."""
        return _of(type(self), {**self.__dict__, **update})

    def model_dump(self) -> dict[str, object]:
        """Plain values, as JSON has them."""
        return {name: _plain(value) for name, value in self.__dict__.items()}

    def __eq__(self, other: object) -> bool:
        """Whether it is the same table with the same values."""
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        """By its values."""
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        """With its values: none of them is a secret, only where one is kept."""
        said = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({said})"

    def __setattr__(self, name: str, value: object = None) -> NoReturn:
        """Refuse: it stays as it was made."""
        problem = f"{type(self).__name__}.{name} stays as it was made"
        raise AttributeError(problem)

    __delattr__ = __setattr__


S = TypeVar("S", bound=Section)


def _of(table: type[S], values: Mapping[str, object]) -> S:
    made = table.__new__(table)
    made.__dict__.update(values)
    return made


def _empty(table: type[S]) -> S:
    return _of(table, {name: key.default for name, key in table.model_fields.items()})


def _plain(value: object) -> object:
    if isinstance(value, Section):
        return value.model_dump()
    if isinstance(value, tuple):
        return [_plain(one) for one in cast("tuple[object, ...]", value)]
    return value


def _values(
    table: type[Section], data: Mapping[str, object], at: KeyPath, faults: list[Fault]
) -> dict[str, object]:
    """The values of all keys of a table; what cannot be one is among the faults."""
    values: dict[str, object] = {}
    for name, key in table.model_fields.items():
        here = (*at, name)
        if name in data:
            known = len(faults)
            values[name] = _taken(key.kind, data[name], here, faults)
            for check in key.checks if len(faults) == known else ():
                values[name] = _checked(check, values[name], here, faults)
        elif key.is_required:
            faults.append(Fault("missing", here, {}, None))
        else:
            values[name] = key.default
    unknown = [name for name in data if name not in table.model_fields]
    faults += [Fault("extra_forbidden", (*at, name), {}, data[name]) for name in unknown]
    return values


def _look(made: Section, data: object, at: KeyPath, faults: list[Fault]) -> None:
    for check in type(made).wholes:
        try:
            check(made)
        except ValueError as error:
            faults.append(Fault("value_error", at, {"error": str(error)}, data))
            return


def _checked(
    check: Callable[[Any], object], value: object, at: KeyPath, faults: list[Fault]
) -> object:
    try:
        return check(value)
    except ValueError as error:
        faults.append(Fault("value_error", at, {"error": str(error)}, value))
        return None


def _taken(kind: object, value: object, at: KeyPath, faults: list[Fault]) -> object:
    """A value as its kind has it; one that cannot be is among the faults."""
    inner = cast("tuple[object, ...]", get_args(kind))
    origin = get_origin(kind)
    if origin is Annotated:
        return _held(inner[0], inner[1:], value, at, faults)
    if origin in {Union, UnionType}:
        one = next(each for each in inner if each is not NoneType)
        return None if value is None else _taken(one, value, at, faults)
    if origin is tuple and isinstance(value, list | tuple):
        items = cast("tuple[object, ...]", value)
        return tuple(_taken(inner[0], one, (*at, nth), faults) for nth, one in enumerate(items))
    if origin is Literal and isinstance(value, str) and value in inner:
        return value
    if origin is None:
        return _single(cast("type", kind), value, at, faults)
    if origin is tuple:
        faults.append(Fault("tuple_type", at, {}, value))
    else:
        expected = cast("tuple[str, ...]", inner)
        faults.append(Fault("literal_error", at, {"expected": expected}, value))
    return None


def _held(
    kind: object, marks: tuple[object, ...], value: object, at: KeyPath, faults: list[Fault]
) -> object:
    known = len(faults)
    taken = _taken(kind, value, at, faults)
    for mark in marks:
        if len(faults) > known:
            return None
        if isinstance(mark, After):
            taken = _checked(mark.run, taken, at, faults)
        elif isinstance(mark, Bound) and (found := mark.broken(taken)):
            faults.append(Fault(found[0], at, found[1], value))
    return taken


_KINDS: Mapping[type, tuple[tuple[type, ...], str]] = MappingProxyType(
    {
        str: ((str,), "string_type"),
        int: ((int,), "int_type"),
        float: ((int, float), "float_type"),
        bool: ((bool,), "bool_type"),
    }
)


def _single(kind: type, value: object, at: KeyPath, faults: list[Fault]) -> object:
    """A table, a text, a number, true or false."""
    if kind not in _KINDS:
        return _table(cast("type[Section]", kind), value, at, faults)
    types, wrong = _KINDS[kind]
    # true is an int to Python, and to nobody who writes a file
    if not isinstance(value, types) or (isinstance(value, bool) and kind is not bool):
        faults.append(Fault(wrong, at, {}, value))
        return None
    if kind is not float:
        return value
    try:
        number = float(cast("float", value))
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        faults.append(Fault("finite_number", at, {}, value))
    return number


def _table(table: type[Section], value: object, at: KeyPath, faults: list[Fault]) -> object:
    if isinstance(value, table):
        return value
    if not isinstance(value, dict):
        faults.append(Fault("model_type", at, {}, value))
        return None
    known = len(faults)
    data = cast("dict[str, object]", value)
    made = _of(table, _values(table, data, at, faults))
    if len(faults) == known:
        _look(made, data, at, faults)
    return made
