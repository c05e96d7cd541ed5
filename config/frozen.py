"""Values that never change after they were made: dataclasses that cost a start next to nothing.

The library writes the source of six methods for every class and compiles it, up to 0.7 ms each;
an agent has some two hundred classes, and nothing else took as much of its start. Here the methods
are written once and told the names of the fields. ``fields``, ``replace``, ``asdict`` and ``match``
work as they do with the library's own, for it is the library that finds the fields and makes the
slots.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from functools import partial
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, cast, dataclass_transform

T = TypeVar("T")
Init = Callable[..., None]
Put = Callable[[object, object], None]
Complete = Callable[[Sequence[object], dict[str, object]], tuple[object, ...]]

_TWO, _THREE = 2, 3


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass with slots.

    Equal are two values of one class whose fields are equal; a hash needs fields that have one.
    Of what ``field`` can say, ``default``, ``default_factory``, ``repr``, ``compare`` and ``hash``
    are heard. A method that the class writes itself stays.

    Raises:
        TypeError: A field without a default follows one that has one.
    """
    own = {name for name in vars(cls) if name.startswith("__")}
    if cls.__doc__ is None:  # else the library makes one, of a signature: 2 ms a class
        cls.__doc__ = cls.__name__
    made = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    known = fields(cast("Any", made))
    compared = tuple(each.name for each in known if each.compare)
    hashed = tuple(each.name for each in known if each.compare and each.hash is not False)
    shown = tuple(each.name for each in known if each.repr)
    methods: dict[str, Callable[..., object]] = {
        "__init__": _init(made, known, getattr(made, "__post_init__", None)),
        "__eq__": _eq(compared),
        "__hash__": _hash(hashed),
        "__repr__": _repr(shown),
        "__setattr__": _refuse,
        "__delattr__": _refuse,
        "__reduce__": _reduce,
    }
    for name, method in methods.items():
        if name not in own:
            setattr(made, name, method)
    return made


def _init(made: type, known: Sequence[Field[Any]], after: Init | None) -> Init:
    of = made.__qualname__
    names = tuple(each.name for each in known)
    # the slots themselves: asking for each by name takes twice as long
    puts: Sequence[Put] = tuple(getattr(made, name).__set__ for name in names)
    defaults = {each.name: each.default for each in known if each.default is not MISSING}
    factories = {
        each.name: each.default_factory for each in known if each.default_factory is not MISSING
    }
    optional = [name in defaults or name in factories for name in names]
    if optional != sorted(optional):
        problem = f"{of}: a field without a default follows one that has one"
        raise TypeError(problem)
    complete = partial(_complete, of, names, defaults=defaults, factories=factories)
    if after is None and len(names) == _TWO:
        return _init_of_two(complete, *puts)
    if after is None and len(names) == _THREE:
        return _init_of_three(complete, *puts)
    count = len(names)

    def init(self: object, *given: object, **named: object) -> None:
        if named or len(given) != count:
            given = complete(given, named)
        for put, value in zip(puts, given, strict=True):
            put(self, value)
        if after is not None:
            after(self)

    return init


# nearly all that comes and goes has two or three fields, and comes and goes all the time


def _init_of_two(complete: Complete, put_first: Put, put_second: Put) -> Init:
    def init(self: object, *given: object, **named: object) -> None:
        if named or len(given) != _TWO:
            given = complete(given, named)
        first, second = given
        put_first(self, first)
        put_second(self, second)

    return init


def _init_of_three(complete: Complete, put_first: Put, put_second: Put, put_third: Put) -> Init:
    def init(self: object, *given: object, **named: object) -> None:
        if named or len(given) != _THREE:
            given = complete(given, named)
        first, second, third = given
        put_first(self, first)
        put_second(self, second)
        put_third(self, third)

    return init


def _complete(
    of: str,
    names: Sequence[str],
    given: Sequence[object],
    named: dict[str, object],
    *,
    defaults: Mapping[str, object],
    factories: Mapping[str, Callable[[], object]],
) -> tuple[object, ...]:
    """The values of all fields, in their order: those given, those named, those not said."""
    whole = list(given)
    for name in names[len(given) :]:
        if name in named:
            whole.append(named.pop(name))
        elif name in defaults:
            whole.append(defaults[name])
        elif name in factories:
            whole.append(factories[name]())
        else:
            problem = f"{of}() needs {name}"
            raise TypeError(problem)
    if named or len(whole) > len(names):
        problem = f"{of}() does not know {', '.join(named) or 'so many values'}, or has it twice"
        raise TypeError(problem)
    return tuple(whole)


def _values(names: Sequence[str]) -> Callable[[object], object]:
    return attrgetter(*names) if names else lambda _: ()


def _eq(names: Sequence[str]) -> Callable[[object, object], bool]:
    values = _values(names)

    def equal(self: object, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    return equal


def _hash(names: Sequence[str]) -> Callable[[object], int]:
    values = _values(names)

    def hashed(self: object) -> int:
        return hash(values(self))

    return hashed


def _repr(names: Sequence[str]) -> Callable[[object], str]:
    def shown(self: object) -> str:
        said = ", ".join([f"{name}={getattr(self, name)!r}" for name in names])
        return f"{self.__class__.__qualname__}({said})"

    return shown


def _refuse(self: object, name: str, _value: object = None) -> NoReturn:
    """Stand where a field would be set or deleted."""
    problem = f"{self.__class__.__qualname__}.{name} stays as it was made"
    raise FrozenInstanceError(problem)


def _reduce(self: object) -> tuple[object, ...]:
    """How a value is copied and pickled: made anew."""
    return self.__class__, tuple(getattr(self, each.name) for each in fields(cast("Any", self)))
