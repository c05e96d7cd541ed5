"""Tables held to their annotations: what they take, what they refuse, and how they say so."""

import copy
import json
import pickle
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Protocol, cast

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.config.paths import SCHEMA_FILE
from poolhand.config.problems import entry_of, leaves, table_of
from poolhand.config.rules import After, Bound, Invalid, checks, whole
from poolhand.config.section import Section, absent
from poolhand.config.settings import Settings


def _even(value: int) -> int:
    if value % 2:
        problem = "must be even"
        raise ValueError(problem)
    return value


class Inner(Section):
    """A table in a table."""

    depth_m: Annotated[float, Bound(gt=0, le=9)] = 1.0
    word: Literal["a", "b"] = "a"


class Outer(Section):
    """A table of everything that a table can hold."""

    name: Annotated[str, Bound(min_length=1, max_length=4, pattern=r"^[a-z]+$")]
    count: Annotated[int, Bound(ge=0), After(_even)] = 0
    is_on: bool = False
    words: tuple[Literal["a", "b"], ...] = ()
    inner: Inner = absent()
    entries: tuple[Inner, ...] = ()
    other: Annotated[str, Bound(max_length=2)] | None = None

    @checks("words")
    @staticmethod
    def _are_sorted(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(words))

    @whole
    def _fits(self) -> None:
        if self.is_on and not self.count:
            problem = "is_on needs a count"
            raise ValueError(problem)


def found(data: Mapping[str, object]) -> dict[tuple[str | int, ...], str]:
    """What is wrong with it: by place, in one word."""
    with pytest.raises(Invalid) as caught:
        Outer.model_validate(data)
    return {one.at: one.kind for one in caught.value.faults}


def test_what_is_written_is_taken_and_the_rest_is_as_it_was() -> None:
    made = Outer.model_validate({"name": "x", "words": ["b", "a"], "inner": {"depth_m": 2}})
    assert made.words == ("a", "b"), "a check may put something in its place"
    assert made.inner == Inner(depth_m=2.0)
    assert isinstance(made.inner.depth_m, float)
    assert (made.count, made.entries, made.other) == (0, (), None)
    assert made == Outer(name="x", words=("a", "b"), inner=made.inner)
    assert Outer(name="x").inner == Inner(), "one that is not written is one that is empty"


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"name": ""}, "string_too_short"),
        ({"name": "abcde"}, "string_too_long"),
        ({"name": "ab1"}, "string_pattern_mismatch"),
        ({"name": "ab\n"}, "string_pattern_mismatch"),
        ({"name": 5}, "string_type"),
        ({"count": "2"}, "int_type"),
        ({"count": 2.0}, "int_type"),
        ({"count": True}, "int_type"),
        ({"count": -2}, "greater_than_equal"),
        ({"count": 3}, "value_error"),
        ({"is_on": 1}, "bool_type"),
        ({"words": "ab"}, "tuple_type"),
        ({"inner": 5}, "model_type"),
        ({"other": 5}, "string_type"),
        ({"nme": "x"}, "extra_forbidden"),
    ],
)
def test_each_fault_has_its_word_and_its_place(keys: dict[str, object], kind: str) -> None:
    assert found({"name": "x"} | keys) == {(next(iter(keys)),): kind}


@pytest.mark.parametrize("depth", [True, "1", float("nan"), float("inf"), 10**400, 0, -1, 9.5])
def test_a_number_is_one_that_lies_in_its_bounds(depth: object) -> None:
    assert [*found({"name": "x", "inner": {"depth_m": depth}})] == [("inner", "depth_m")]


def test_all_faults_are_found_each_with_the_way_to_it() -> None:
    said = {"words": ["a", 5], "inner": {"word": "c", "dpth": 1}, "entries": [{}, {"word": 1}, 7]}
    assert found(said) == {
        ("name",): "missing",
        ("words", 1): "literal_error",
        ("inner", "word"): "literal_error",
        ("inner", "dpth"): "extra_forbidden",
        ("entries", 1, "word"): "literal_error",
        ("entries", 2): "model_type",
    }
    with pytest.raises(Invalid, match=r"^Outer: : model_type$"):
        Outer.model_validate([])


def test_the_whole_is_looked_at_once_its_parts_are_right() -> None:
    assert found({"name": "x", "is_on": True}) == {(): "value_error"}
    assert found({"name": "x", "is_on": True, "count": "no"}) == {("count",): "int_type"}
    with pytest.raises(Invalid, match="is_on needs a count"):
        Outer(name="x", is_on=True)


def test_a_value_that_was_refused_is_never_shown() -> None:
    with pytest.raises(Invalid) as caught:
        Outer.model_validate(
            {"name": "s3cr3t", "count": "s3cr3t", "s": "s3cr3t", "words": "s3cr3t"}
        )
    assert "s3cr3t" not in str(caught.value)


def test_values_stay_as_they_were_made_and_are_told_apart() -> None:
    made = Outer(name="x")
    with pytest.raises(AttributeError, match="stays as it was made"):
        made.name = "y"  # pyright: ignore[reportAttributeAccessIssue]  # that is the point
    with pytest.raises(AttributeError, match="stays as it was made"):
        del made.name  # pyright: ignore[reportAttributeAccessIssue]  # likewise
    other = made.model_copy(update={"name": "y"})
    assert (made.name, other.name) == ("x", "y")
    assert made != other
    assert hash(made) == hash(Outer(name="x"))
    assert made != Inner()
    assert copy.deepcopy(made) == made
    assert pickle.loads(pickle.dumps(made.inner)) == made.inner  # noqa: S301  # our own bytes
    assert repr(Inner()) == "Inner(depth_m=1.0, word='a')"


def test_what_was_dumped_is_taken_back() -> None:
    made = Outer(name="x", count=2, entries=(Inner(word="b"),), other="o")
    told = json.loads(json.dumps(made.model_dump()))
    assert told["entries"] == [{"depth_m": 1.0, "word": "b"}]
    assert Outer.model_validate(told) == made


def every_table(section: type[Section]) -> Iterator[type[Section]]:
    """This table and all that are in it."""
    yield section
    for field in section.model_fields.values():
        inner = table_of(field) or entry_of(field)
        if inner is not None:
            yield from every_table(inner)


def test_a_table_that_is_not_written_is_as_one_that_is_empty() -> None:
    needed = {"coordinator": {"url": "ws://127.0.0.1:1"}}
    taken = Settings.model_validate(needed)
    named = [name for name in Settings.model_fields if name not in {"coordinator", "models"}]
    assert taken == Settings.model_validate(needed | {name: {} for name in named})
    tables = [
        one
        for one in every_table(Settings)
        if not any(field.is_required for field in one.model_fields.values())
    ]
    assert len(tables) > 20
    for table in tables:
        assert table() == table.model_validate({}), table


def test_a_default_is_what_may_be_written() -> None:
    for table in every_table(Settings):
        for name, field in table.model_fields.items():
            if field.is_required or field.default in (None, "") or table_of(field):
                continue
            value = field.default
            plain = [*cast("tuple[object, ...]", value)] if isinstance(value, tuple) else value
            with pytest.raises(Invalid) as caught:
                table.model_validate({name: plain, "no such key": 1})
            assert name not in {one.at[0] for one in caught.value.faults}, (table, name)


SCHEMA = cast("dict[str, object]", json.loads(SCHEMA_FILE.read_bytes()))
KEYS = [(at, field) for at, field in leaves(Settings) if entry_of(field) is None]
VALUES = st.one_of(
    st.booleans(),
    st.integers(-2, 2**21),
    st.floats(-1, 2**21, allow_nan=False),
    st.sampled_from(["", "auto", "a", "mlx", "debug", "input", "/x", "x" * 300, "-", "1.2.3"]),
    st.lists(st.sampled_from(["a", "mlx", "input", "0,1", "", 5]), max_size=2),
    st.dictionaries(st.sampled_from(["a", "url"]), st.just(1), max_size=1),
)
_LOOKED_AT = frozenset({"value_error"})
"""What a check says of a value of the right form: no schema can know that."""


class _Validator(Protocol):
    def is_valid(self, instance: object) -> bool: ...


VALIDATOR = cast("_Validator", jsonschema.Draft202012Validator(SCHEMA))


@settings(max_examples=300)
@given(st.sampled_from(KEYS), VALUES)
def test_the_schema_and_the_settings_agree_on_every_value(
    key: tuple[tuple[str, ...], object], value: object
) -> None:
    at = key[0]
    data: dict[str, object] = {"coordinator": {"url": "ws://127.0.0.1"}}
    table = data
    for name in at[:-1]:
        table = cast("dict[str, object]", table.setdefault(name, {}))
    table[at[-1]] = value
    try:
        Settings.model_validate(data)
    except Invalid as error:
        is_taken = {one.kind for one in error.faults} <= _LOOKED_AT
    else:
        is_taken = True
    # a float without a fraction is an integer to a schema, and none to TOML
    is_whole = isinstance(value, float) and value.is_integer()
    if not is_whole:
        assert VALIDATOR.is_valid(data) == is_taken
