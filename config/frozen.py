"""Values that never change after they were made: dataclasses that cost a start next to nothing.

The library writes the source of six methods for every class and compiles it, up to 0.7 ms each;
an agent has some two hundred classes, and nothing else took as much of its start. Here the methods
are written once and told the names of the fields. ``fields``, ``replace``, ``asdict`` and ``match``
work as they do with the library's own: it is asked to describe the fields, but only when one of
its tools wants to know, for its import and that description would be a tenth of a child's start.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from operator import attrgetter, call
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar, cast, dataclass_transform

T = TypeVar("T")
Init = Callable[..., None]
Put = Callable[[object, object], None]
Complete = Callable[[Sequence[object], dict[str, object]], tuple[object, ...]]

_TWO, _THREE = 2, 3
_CALLED = cast("Callable[[Put, object, object], None]", call)


class _Missing:
    """What stands for a default that there is not."""


_MISSING = _Missing()


class _Field:
    """One field of a class: what the library's would say of it, as far as it is heard here."""

    __slots__ = ("annotation", "compare", "default", "default_factory", "hash", "name", "repr")

    def __init__(
        self,
        default: object = _MISSING,
        default_factory: "Callable[[], object] | _Missing" = _MISSING,
        *,
        repr: bool = True,  # noqa: A002  # the library's names
        hash: bool | None = None,  # noqa: A002  # likewise
        compare: bool = True,
    ) -> None:
        self.name, self.annotation = "", cast("object", None)
        self.default, self.default_factory = default, default_factory
        self.repr, self.hash, self.compare = repr, hash, compare

    def described(self) -> tuple[str, Any, Any]:
        """The same, as the library wants it."""
        from dataclasses import field  # noqa: PLC0415  # see above

        said: dict[str, Any] = {"repr": self.repr, "hash": self.hash, "compare": self.compare}
        if self.default is not _MISSING:
            said["default"] = self.default
        if self.default_factory is not _MISSING:
            said["default_factory"] = self.default_factory
        return self.name, self.annotation, field(**said)


if TYPE_CHECKING:  # who reads types knows the library's by name
    from dataclasses import field
else:
    field = _Field


class _Described:
    """A class's ``__dataclass_fields__``, made when a tool of the library's looks for them."""

    def __get__(self, _value: object, kind: type) -> Mapping[str, Any]:
        from dataclasses import make_dataclass  # noqa: PLC0415  # see above

        known = [each.described() for each in _known(kind)]
        told = make_dataclass(kind.__name__, known, init=False, repr=False, eq=False)
        made: Mapping[str, Any] = vars(told)["__dataclass_fields__"]
        for owner in kind.__mro__:  # none, if another thread has looked meanwhile
            if vars(owner).get(_FIELDS) is self:
                setattr(owner, _FIELDS, made)
        return made


_FIELDS, _KNOWN = "__dataclass_fields__", "__frozen_fields__"


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass with slots.

    Equal are two values of one class whose fields are equal; a hash needs fields that have one.
    Of what ``field`` can say, ``default``, ``default_factory``, ``repr``, ``compare`` and ``hash``
    are heard. A method that the class writes itself stays.

    Raises:
        TypeError: A field without a default follows one that has one.
    """
    if cls.__doc__ is None:
        cls.__doc__ = cls.__name__
    known = (*_known(cls), *_own_fields(cls))
    known = tuple({each.name: each for each in known}.values())
    made = _with_slots(cls, known)
    if "__init__" not in vars(cls):  # it needs the slots, which are the new class's
        made.__init__ = _init(made, known, getattr(made, "__post_init__", None))
    return made


def replace(value: T, **changes: object) -> T:
    """Another value of the same class, with some fields changed.

    Raises:
        TypeError: It has no such field.
    """
    names = cast("tuple[str, ...]", getattr(value, "__match_args__"))  # noqa: B009  # of any class
    given = [changes.pop(name) if name in changes else getattr(value, name) for name in names]
    return type(value)(*given, **changes)  # what is left is no field, which is told there


def as_table(value: object) -> dict[str, object]:
    """A value's fields by name; the library's ``asdict`` copies every text on its way."""
    return {each.name: getattr(value, each.name) for each in _known(type(value))}


def _known(kind: type) -> "tuple[_Field, ...]":
    """The fields of a class and of those above it, in their order."""
    return cast("tuple[_Field, ...]", getattr(kind, _KNOWN, ()))


def _own_fields(cls: type) -> "list[_Field]":
    found: list[_Field] = []
    for name, annotation in cast("dict[str, object]", cls.__annotations__).items():
        if getattr(annotation, "__origin__", annotation) is ClassVar:
            continue
        said: Any = vars(cls).get(name, _MISSING)
        if type(said).__name__ == "Field":  # the library's, of a file that has it anyway
            said = _taken(said)
        one = said if isinstance(said, _Field) else _Field(said)
        one.name, one.annotation = name, annotation
        found.append(one)
    return found


def _taken(said: Any) -> _Field:  # noqa: ANN401  # the library's, whose own fields are such
    from dataclasses import MISSING  # noqa: PLC0415  # it is imported already

    default = _MISSING if said.default is MISSING else said.default
    factory = _MISSING if said.default_factory is MISSING else said.default_factory
    return _Field(default, factory, repr=said.repr, hash=said.hash, compare=said.compare)


def _with_slots(cls: type[T], known: "Sequence[_Field]") -> type[T]:
    """The same class once more, with a slot for every field that no class above it has."""
    above = {each.name for each in _known(cls)}
    names = tuple([each.name for each in known])
    # put into a class that is there already, each would have it look through all that it can do
    methods: dict[str, object] = {
        "__eq__": _eq([each.name for each in known if each.compare]),
        "__hash__": _hash([each.name for each in known if each.compare and each.hash is not False]),
        "__repr__": _repr([each.name for each in known if each.repr]),
        "__setattr__": _refuse,
        "__delattr__": _refuse,
        "__reduce__": _reduce,
        "__match_args__": names,
    }
    body = {**methods, **vars(cls), "__qualname__": cls.__qualname__}
    for name in ("__dict__", "__weakref__", *names):
        _ = body.pop(name, None)
    own = tuple([name for name in names if name not in above])
    body |= {"__slots__": own, _FIELDS: _Described(), _KNOWN: tuple(known)}
    return type(cls)(cls.__name__, cls.__bases__, body)


def _init(made: type, known: "Sequence[_Field]", after: Init | None) -> Init:
    of = made.__qualname__
    names = tuple(each.name for each in known)
    # the slots themselves: asking for each by name takes twice as long
    puts: Sequence[Put] = tuple(getattr(made, name).__set__ for name in names)
    defaults = {each.name: each.default for each in known if each.default is not _MISSING}
    factories = {
        each.name: each.default_factory
        for each in known
        if not isinstance(each.default_factory, _Missing)
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
        for _ in map(_CALLED, puts, repeat(self), given):  # without a step of ours for each of them
            pass
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
    from dataclasses import FrozenInstanceError  # noqa: PLC0415  # see above

    problem = f"{self.__class__.__qualname__}.{name} stays as it was made"
    raise FrozenInstanceError(problem)


def _reduce(self: object) -> tuple[object, ...]:
    """How a value is copied and pickled: made anew."""
    return self.__class__, tuple(as_table(self).values())
