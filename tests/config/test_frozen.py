"""Values made without a compiler: they do all that the library's own frozen dataclasses do."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.config import frozen as ours
from poolhand.config.frozen import frozen


@frozen
class Berth:
    """Where a ship lies.

    Attributes:
        depth_m: At low water.
    """

    name: str
    depth_m: float = 4.5
    ships: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    key: str = field(default="", repr=False)
    seen_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Twin:
    """The same, by the library."""

    name: str
    depth_m: float = 4.5
    ships: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    key: str = field(default="", repr=False)
    seen_s: float = field(default=0.0, compare=False)


@frozen
class _Own:
    """The same, with the fields of this house."""

    KIND: ClassVar[str] = "ship"
    name: str
    depth_m: float = 4.5
    ships: tuple[str, ...] = ()
    notes: Mapping[str, str] = ours.field(default_factory=dict[str, str], hash=False)
    key: str = ours.field(default="", repr=False)
    seen_s: float = ours.field(default=0.0, compare=False)


@frozen
class _Squared:
    side_m: float
    area_m2: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "area_m2", self.side_m**2)


@frozen
class _Quiet:
    token: str

    def __repr__(self) -> str:
        return "_Quiet()"


@frozen
class _Quay(Berth):
    cranes: int = 0


@frozen
class Nothing:
    """Says all by being there."""


ANYTHING = st.one_of(st.none(), st.integers(), st.text(max_size=3), st.tuples(st.integers()))
GIVEN = st.lists(ANYTHING, max_size=7)
NAMED = st.dictionaries(
    st.sampled_from(["name", "depth_m", "ships", "notes", "key", "seen_s", "colour"]), ANYTHING
)


def made(kind: Callable[..., object], given_: list[object], named: dict[str, object]) -> object:
    try:
        return kind(*given_, **named)
    except TypeError:
        return None


@given(GIVEN, NAMED)
def test_a_value_is_made_of_what_the_library_would_take_and_of_nothing_else(
    values: list[object], named: dict[str, object]
) -> None:
    ours, theirs = made(Berth, values, named), made(Twin, values, named)
    assert (ours is None) == (theirs is None)
    if ours is not None:
        assert asdict(cast("Any", ours)) == asdict(cast("Any", theirs))
        assert repr(ours).removeprefix("Berth") == repr(theirs).removeprefix("Twin")


@given(GIVEN, NAMED, GIVEN, NAMED)
def test_values_are_equal_when_the_librarys_would_be(
    one: list[object], one_named: dict[str, object], two: list[object], two_named: dict[str, object]
) -> None:
    ours = made(Berth, one, one_named), made(Berth, two, two_named)
    theirs = made(Twin, one, one_named), made(Twin, two, two_named)
    assert (ours[0] == ours[1]) == (theirs[0] == theirs[1])


def test_equal_values_have_one_hash_and_another_class_is_never_equal() -> None:
    one, same = Berth("a", 2.0, notes={"x": "y"}), Berth("a", 2.0, notes={"x": "y"}, seen_s=7.0)
    assert one == same
    assert hash(one) == hash(same)
    assert one != Berth("b", 2.0)
    assert one != _Quay("a", 2.0, notes={"x": "y"})
    assert one.__eq__("a") is NotImplemented
    assert len({Nothing(), Nothing()}) == 1


def test_a_hash_needs_fields_that_have_one() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Berth(cast("str", [])))


def test_nothing_of_a_value_can_be_changed() -> None:
    berth = Berth("a")
    for change in (
        lambda: setattr(berth, "name", "b"),
        lambda: setattr(berth, "colour", "red"),
        lambda: delattr(berth, "name"),
    ):
        with pytest.raises(FrozenInstanceError, match="Berth"):
            change()
    assert berth == Berth("a")
    assert not hasattr(berth, "__dict__")


@given(GIVEN, NAMED)
def test_fields_of_the_house_are_those_of_the_library(
    values: list[object], named: dict[str, object]
) -> None:
    one, other = made(_Own, values, named), made(Berth, values, named)
    assert (one is None) == (other is None)
    if one is not None:
        assert asdict(cast("Any", one)) == asdict(cast("Any", other)) == ours.as_table(one)
        assert repr(one).removeprefix("_Own") == repr(other).removeprefix("Berth")


def test_what_the_library_is_told_of_fields_is_what_it_would_find() -> None:
    for kind in (Berth, _Own):
        told = fields(cast("Any", kind))
        for one, other in zip(told, fields(Twin), strict=True):
            assert (one.name, one.type, one.repr, one.compare, one.hash, one.default) == (
                other.name,
                other.type,
                other.repr,
                other.compare,
                other.hash,
                other.default,
            )
        assert fields(cast("Any", kind)) == told
    assert [each.name for each in fields(cast("Any", _Quay))] == [
        *(each.name for each in fields(cast("Any", Berth))),
        "cranes",
    ]


def test_a_value_is_made_anew_with_some_fields_changed() -> None:
    quay = _Quay("a", 3.0, key="k", cranes=2)
    changed = ours.replace(quay, name="b")
    assert (changed.name, changed.depth_m, changed.key, changed.cranes) == ("b", 3.0, "k", 2)
    with pytest.raises(TypeError, match="does not know colour"):
        _ = ours.replace(quay, colour="red")


def test_neither_a_class_nor_its_values_bring_the_library() -> None:
    program = """
import sys
from poolhand.config.frozen import as_table, field, frozen, replace
@frozen
class Berth:
    name: str
    depth_m: float = field(default=4.5)
print(replace(Berth("a"), depth_m=1.0), as_table(Berth("a")), "dataclasses" in sys.modules)
from dataclasses import asdict
print(asdict(Berth("a")))
"""
    ended = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.splitlines() == [
        "Berth(name='a', depth_m=1.0) {'name': 'a', 'depth_m': 4.5} False",
        "{'name': 'a', 'depth_m': 4.5}",
    ]


def test_a_key_is_never_in_the_words_of_a_value() -> None:
    assert "s3cret" not in repr(Berth("a", key="s3cret"))


def test_the_librarys_own_tools_know_a_value() -> None:
    berth = Berth("a", ships=("b",))
    assert is_dataclass(berth)
    assert [each.name for each in fields(cast("Any", berth))][:2] == ["name", "depth_m"]
    assert replace(cast("Any", berth), depth_m=1.0) == Berth("a", 1.0, ("b",))
    match berth:
        case Berth(name, depth_m, ships=(ship,)):
            assert (name, depth_m, ship) == ("a", 4.5, "b")
        case _:
            pytest.fail("no value was matched")


def test_two_threads_may_use_the_librarys_tools_at_once() -> None:
    """What was looked up before the other thread was done is asked after it."""

    @frozen
    class Pair:
        left: int
        right: int = 2

    looked_up = vars(Pair)["__dataclass_fields__"]
    assert replace(Pair(1), left=3) == Pair(3)
    assert list(looked_up.__get__(None, Pair)) == ["left", "right"]
    assert replace(Pair(1), right=3) == Pair(1, 3)


def test_a_value_is_copied_and_pickled_whole() -> None:
    quay = _Quay("a", 3.0, notes={"x": "y"}, key="k", cranes=2)
    for other in (copy.copy(quay), copy.deepcopy(quay), pickle.loads(pickle.dumps(quay))):  # noqa: S301  # our own bytes
        assert other == quay
        assert other.key == "k"


def test_each_value_has_a_default_of_its_own_where_a_call_makes_it() -> None:
    assert Berth("a").notes is not Berth("b").notes


def test_what_a_class_writes_itself_stays() -> None:
    assert repr(_Quiet("t")) == "_Quiet()"
    assert _Squared(3.0).area_m2 == 9.0
    assert _Quay("a", cranes=2).cranes == 2


def test_what_is_missing_unknown_or_there_twice_is_named() -> None:
    make = cast("Callable[..., object]", Berth)
    for values, named, words in (
        ((), {}, r"Berth\(\) needs name"),
        (("a",), {"colour": "red"}, "does not know colour"),
        (("a",), {"name": "b"}, "does not know name, or has it twice"),
        (range(9), {}, "so many values"),
    ):
        with pytest.raises(TypeError, match=words):
            make(*values, **named)


def test_a_field_without_a_default_cannot_follow_one_that_has_one() -> None:
    with pytest.raises(TypeError, match="Wrong: a field without a default"):

        @frozen
        class Wrong:  # pyright: ignore[reportUnusedClass]
            first: int = 0
            second: int  # pyright: ignore[reportGeneralTypeIssues]
