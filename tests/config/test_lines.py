"""Lines of keys: examples of every form, and the law that every value has its line."""

import tomllib
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.config.lines import KeyPath, Lines, spots

TEXT = '''\
top = 1 # = [x]
[a]
b = """
[not.a.table]
c = 1""""
d.e = [ # two items
  1,
  { f = "]", "g h" = '}' },
]
"q\\u0041.r" = 2
[[m]]
id = 'x'
[m.sub]
k = 1
[[m]]

id = 2
[[m.deep]]
z = 1979-05-27 07:32:00
[a.later]
w = \'\'\'a'b\'\'\'
'''


def key_lines(text: str) -> dict[KeyPath, int]:
    lines = Lines(text)
    return {path: lines.at(spot.key)[0] for path, spot in spots(text).items()}


def test_every_form_of_key() -> None:
    lines = key_lines(TEXT)
    expected: dict[KeyPath, int] = {
        ("top",): 1,
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "d"): 6,
        ("a", "d", "e"): 6,
        ("a", "d", "e", 0): 7,
        ("a", "d", "e", 1): 8,
        ("a", "d", "e", 1, "f"): 8,
        ("a", "d", "e", 1, "g h"): 8,
        ("a", "qA.r"): 10,
        ("m",): 11,
        ("m", 0): 11,
        ("m", 0, "id"): 12,
        ("m", 0, "sub"): 13,
        ("m", 0, "sub", "k"): 14,
        ("m", 1): 15,
        ("m", 1, "id"): 17,
        ("m", 1, "deep"): 18,
        ("m", 1, "deep", 0): 18,
        ("m", 1, "deep", 0, "z"): 19,
        ("a", "later"): 20,
        ("a", "later", "w"): 21,
    }
    assert lines == expected
    assert set(paths(tomllib.loads(TEXT))) <= set(lines)


def test_windows_line_ends_count_once() -> None:
    assert key_lines(TEXT.replace("\n", "\r\n")) == key_lines(TEXT)


def test_a_spot_is_the_key_and_the_text_of_its_value() -> None:
    found = spots(TEXT)
    values = {at: TEXT[spot.start : spot.end] for at, spot in found.items()}
    assert values["top",] == "1"
    assert values["a", "b"] == '"""\n[not.a.table]\nc = 1""""'
    assert values["a", "d", "e", 1] == '{ f = "]", "g h" = \'}\' }'
    assert values["m", 1, "deep", 0, "z"] == "1979-05-27 07:32:00"
    assert values["a",] == "", "a table with a header has no value of its own"
    lines = Lines(TEXT)
    assert lines.at(found["a", "d", "e", 1, "g h"].key) == (8, 14)
    assert lines.at(found["m", 1, "id"].start) == (17, 6)
    assert [at for at, spot in found.items() if spot.is_header] == [
        ("a",), ("m",), ("m", 0), ("m", 0, "sub"), ("m", 1), ("m", 1, "deep"),
        ("m", 1, "deep", 0), ("a", "later"),
    ]  # fmt: skip


def test_a_table_that_is_named_on_the_way_gets_its_own_header_later() -> None:
    assert spots("[a.b]\nx = 1\n[a]\ny = 1\n")["a",].key == 12
    assert not spots("[a.b]\n")["a",].is_header


def test_an_empty_text_has_no_keys() -> None:
    assert key_lines("") == {}
    assert key_lines("\n# only words\n") == {}


def paths(value: object, at: KeyPath = ()) -> Iterator[KeyPath]:
    match value:
        case dict():
            for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
                yield (*at, str(key))  # pyright: ignore[reportUnknownArgumentType]
                yield from paths(inner, (*at, str(key)))  # pyright: ignore[reportUnknownArgumentType]
        case list():
            for nth, inner in enumerate(value):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
                yield (*at, nth)
                yield from paths(inner, (*at, nth))  # pyright: ignore[reportUnknownArgumentType]
        case _:
            return


def at_path(data: object, path: KeyPath) -> object:
    for key in path:
        data = data[key]  # pyright: ignore[reportIndexIssue, reportUnknownVariableType]  # whatever TOML has there
    return data  # pyright: ignore[reportUnknownVariableType]


def spelled(text: str) -> str:
    odd = {letter for letter in text if letter in '"\\' or not letter.isprintable()}
    escaped = (f"\\U{ord(letter):08x}" if letter in odd else letter for letter in text)
    return f'"{"".join(escaped)}"'


bare_keys = st.text("abcXYZ09_-", min_size=1, max_size=4)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
keys = bare_keys | texts.map(spelled)
strings = texts.map(spelled) | st.sampled_from(
    [
        "''",
        "'#'",
        '"""\n[x]\ny = 1"""',
        "'''\n\n'''",
        '"""a\\\n  b"""""',
        "'''''a'''''",
        r'"\" = [ # "',
        r'"\\"',
        r'''"""\"""", {"""''',
    ]
)
scalars = strings | st.sampled_from(
    ["1", "-0.5e3", "true", "inf", "0xff", "07:32:00", "1979-05-27 07:32:00Z"]
)
gaps = st.sampled_from(["", " ", "\n", " # ] } , [ =\n", "\n\n\t"])


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    items = draw(st.lists(inner, max_size=3))
    body = "".join(f"{draw(gaps)}{item}{draw(gaps)}," for item in items)
    return f"[{body}{draw(gaps)}]"


@st.composite
def inline_tables(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    one_line = inner.filter(lambda text: "\n" not in text)
    pairs = draw(st.lists(st.tuples(keys, one_line), max_size=3))
    return "{" + ", ".join(f"{key} = {value}" for key, value in pairs) + "}"


values = st.recursive(scalars, lambda inner: arrays(inner) | inline_tables(inner), max_leaves=6)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[tuple[str, int]]]:
    """TOML text, and each top-level value's marker with the line its key stands on."""
    text, marks = "", list[tuple[str, int]]()
    for nth in range(draw(st.integers(1, 5))):
        headers = ["", "\n", "# words\n", f"[t{nth}]\n", "[[arr]]\n", f"[u{nth}.v]\n"]
        text += draw(st.sampled_from(headers))
        mark = f"mark{nth}"
        marks.append((mark, text.count("\n") + 1))
        dotted = draw(st.sampled_from(["", " . x", '."y z"']))
        text += f"{mark}{dotted} = {draw(values)}\n"
    return text, marks


@given(documents())
@settings(max_examples=150, deadline=None)
def test_laws(document: tuple[str, list[tuple[str, int]]]) -> None:
    text, marks = document
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # two equal keys in an inline table, say
    lines = key_lines(text)
    assert set(paths(data)) == set(lines), "each key has a line, and no key is invented"
    for mark, line in marks:
        assert [at for path, at in lines.items() if path[-1] == mark] == [line]
    for path, spot in spots(text).items():
        if spot.start < spot.end:
            again = tomllib.loads(f"v = {text[spot.start : spot.end]}")["v"]
            assert repr(again) == repr(at_path(data, path)), "a value's text is that value"
