"""What may be wrong with a value of a table, and the marks that say what it is held to."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from .frozen import frozen
from .lines import KeyPath

V = TypeVar("V")
Fact = int | float | str | tuple[str, ...]


@frozen
class Fault:
    """One value that cannot stand where it was written.

    Attributes:
        kind: What is wrong with it, in one word.
        facts: What the sentence about it needs, such as the bound that it breaks; ``error`` is
            what a check said of it.
        given: The value itself; never shown, for a token may stand in the wrong place.
    """

    kind: str
    at: KeyPath
    facts: Mapping[str, Fact]
    given: object


class Invalid(ValueError):
    """A table cannot be made of these values.

    Attributes:
        faults: All that is wrong, in the order of the table's keys.
    """

    def __init__(self, table: str, faults: tuple[Fault, ...]) -> None:
        self.faults = faults
        said = (f"{'.'.join(map(str, one.at))}: {_said(one)}" for one in faults)
        super().__init__(f"{table}: {'; '.join(said)}")


def _said(fault: Fault) -> str:
    return " ".join([fault.kind, *(f"{name}={fact}" for name, fact in fault.facts.items())])


@frozen
class Bound:
    """How small, large, short or long a value may be, and what a text looks like."""

    gt: float | None = None
    ge: float | None = None
    le: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None

    def broken(self, value: object) -> tuple[str, Mapping[str, Fact]] | None:
        """Which bound the value breaks, and where it lies; ``None`` for one that keeps them."""
        if isinstance(value, str):
            return self._broken_by_text(value)
        number = cast("float", value)
        if self.gt is not None and not number > self.gt:
            return "greater_than", {"gt": self.gt}
        if self.ge is not None and not number >= self.ge:
            return "greater_than_equal", {"ge": self.ge}
        if self.le is not None and not number <= self.le:
            return "less_than_equal", {"le": self.le}
        return None

    def _broken_by_text(self, text: str) -> tuple[str, Mapping[str, Fact]] | None:
        import re  # noqa: PLC0415  # as below

        if self.min_length is not None and len(text) < self.min_length:
            return "string_too_short", {"min_length": self.min_length}
        if self.max_length is not None and len(text) > self.max_length:
            return "string_too_long", {"max_length": self.max_length}
        # the whole text: a bare $ would let a line break at its end go by
        if self.pattern is not None and re.fullmatch(self.pattern, text) is None:
            return "string_pattern_mismatch", {"pattern": self.pattern}
        return None


@frozen
class After:
    """A look at a value that is of the right type.

    Attributes:
        run: Gives the value back, or what is to stand for it; ValueError says what is wrong.
    """

    run: Callable[[Any], object]


@frozen
class Check:
    """A method that looks: at the value of one key, or at the whole table if it names none."""

    key: str
    run: Callable[[Any], object]


def checks(key: str) -> Callable[[Callable[[V], V]], Check]:
    """Have a static method look at the value of a key that was written; as :class:`After`."""

    def marked(run: Callable[[V], V]) -> Check:
        return Check(key, run)

    return marked


def whole(run: Callable[[V], None]) -> Check:
    """Have a method look at a table whose values are all right; ValueError says what is wrong."""
    return Check("", run)
