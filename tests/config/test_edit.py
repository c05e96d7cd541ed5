"""One key set, and everything else as its author wrote it."""

# ruff: noqa: E501  # in the table, one case a line

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.config.edit import replace_file, with_key
from poolhand.config.errors import ConfigInvalid, ConfigUnwritable
from poolhand.config.lines import KeyPath

TEXT = """\
# a file that somebody loves
[slots]  # few
max_model_slots = 1   # one is enough

[pools]
allowed = [
    "a",  # the first
]

[[models]]
id = "x"
ref = "file:///x"

# the second
[[models]]
id = "y"

[stores]
s3 = { region = "eu" }  # inline
gs.endpoint = "http://g"
"""


@pytest.mark.parametrize(
    ("at", "value", "old", "new"),
    [
        (("slots", "max_model_slots"), 2, "= 1   # one", "= 2   # one"),
        (("pools", "allowed"), ["b"], '[\n    "a",  # the first\n]', '["b"]'),
        (("slots", "idle_unload_s"), 1.5, "is enough\n", "is enough\nidle_unload_s = 1.5\n"),
        (("models", 0, "pinned"), True, 'file:///x"\n', 'file:///x"\npinned = true\n'),
        (("models", 1, "id"), 'z"', 'id = "y"', 'id = "z\\""'),
        (("models", 0, "serving", "gpus"), "0", 'file:///x"\n', 'file:///x"\n\n[models.serving]\ngpus = "0"\n'),
        (("stores", "s3", "profile"), "p", '"eu" }', '"eu", profile = "p" }'),
        (("stores", "gs", "endpoint"), "g", '"http://g"', '"g"'),
        (("stores", "trusted_hosts"), [], '"http://g"\n', '"http://g"\ntrusted_hosts = []\n'),
        (("stores", "hf", "endpoint"), "h", '"http://g"\n', '"http://g"\n\n[stores.hf]\nendpoint = "h"\n'),
        (("log", "level"), "info", '"http://g"\n', '"http://g"\n\n[log]\nlevel = "info"\n'),
    ],
)  # fmt: skip
def test_one_key_and_nothing_else(at: KeyPath, value: object, old: str, new: str) -> None:
    assert TEXT.count(old) == 1
    assert with_key(TEXT, at, value, "f") == TEXT.replace(old, new)
    windows = TEXT.replace("\n", "\r\n")
    edited = with_key(windows, at, value, "f")
    assert "\n" not in edited.replace("\r\n", "")
    assert tomllib.loads(edited) == tomllib.loads(TEXT.replace(old, new))


def test_an_empty_text_gets_its_first_table() -> None:
    assert with_key("", ("log", "level"), "info", "f") == '[log]\nlevel = "info"\n'
    edited = with_key("[a]\nx = 1", ("a", "y"), 2, "f")
    assert edited == "[a]\nx = 1\ny = 2\n", "a last line without an end gets one"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("[x]\na = 1\n", ("models", 0, "id")),
        ("a = 1\n", ("a", "b")),
        ("x.a = 1\n", ("x", "b")),
    ],
)
def test_what_it_cannot_edit_it_leaves_alone(text: str, at: KeyPath) -> None:
    with pytest.raises(ConfigInvalid, match="only a person can edit"):
        with_key(text, at, "secret", "f")


names = st.sampled_from(["a", "b", "c d", "e"])
values = st.one_of(
    st.integers(-9, 9), st.booleans(), st.text(max_size=5), st.floats(-9, 9),
    st.lists(st.text(max_size=3), max_size=2),
)  # fmt: skip
pieces = st.lists(
    st.sampled_from([
        "[a]\n", "[b]\n", "[a.e]\n", "# word [x]\n", "\n", "a = 1 # c\n", "b = [\n 1,\n]\n",
        'e = """\n[a]\n"""\n', '"c d" = { a = 1, b = 2 }\n', "e.a = 1\n", "[[e]]\n",
    ]),
    max_size=8,
)  # fmt: skip


@given(pieces, st.lists(names, min_size=1, max_size=3), values)
@settings(max_examples=200, deadline=None)
def test_laws(parts: list[str], at: list[str], value: object) -> None:
    text = "".join(parts)
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    try:
        edited = with_key(text, tuple(at), value, "f")
    except ConfigInvalid:
        return
    after = tomllib.loads(edited)
    found: object = after
    for key in at:
        assert isinstance(found, dict)
        found = found[key]  # pyright: ignore[reportUnknownVariableType]  # whatever TOML has there
    assert found == value
    assert [line for line in edited.splitlines() if line.startswith("#")] == [
        line for line in text.splitlines() if line.startswith("#")
    ], "no comment is lost"
    assert with_key(edited, tuple(at), value, "f") == edited, "set twice is set once"
    assert set(before) <= set(after)


def test_a_file_is_replaced_whole_with_its_mode_and_through_its_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "link.toml"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to("real.toml")
    replace_file(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o7777 == 0o640
    replace_file(tmp_path / "fresh.toml", b"x")
    assert (tmp_path / "fresh.toml").stat().st_mode & 0o7777 == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "fresh.toml",
        "link.toml",
        "real.toml",
    ]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigUnwritable, match="No such file"):
        replace_file(tmp_path / "none" / "a.toml", b"x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"old")
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigUnwritable, match="Permission denied"):
        replace_file(path, b"new")
    tmp_path.chmod(0o700)
    assert path.read_bytes() == b"old"
