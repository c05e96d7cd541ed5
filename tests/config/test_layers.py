"""Files read, parsed and laid over one another."""

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.config.errors import ConfigInvalid, ConfigUnreadable
from poolhand.config.layers import MOST_FILES, Written, extras_dir, lay, read_files

A, B = Path("/c/agent.toml"), Path("/c/agent.d/b.toml")


def test_the_folder_of_the_further_files() -> None:
    assert extras_dir(A) == Path("/c/agent.d")


def test_tables_are_joined_and_models_come_one_after_the_other() -> None:
    laid = lay({A: b"[t]\nx = 1\ny = [1]\n[[m]]\nid = 1\n", B: b"[t]\ny = [2]\n[[m]]\nid = 2\n"})
    assert laid.data == {"t": {"x": 1, "y": [2]}, "m": [{"id": 1}, {"id": 2}]}
    assert laid.written["t", "x"] == Written(str(A), 2, 1, 2, 5)
    assert laid.written["t", "y"] == Written(str(B), 2, 1, 2, 5)
    assert laid.written["m", 0, "id"] == Written(str(A), 5, 1, 5, 6)
    assert laid.written["m", 1, "id"] == Written(str(B), 4, 1, 4, 6)
    assert laid.written["m", 1].path == str(B)


def test_a_table_that_is_none_in_the_other_file_is_left_to_the_validator() -> None:
    assert lay({A: b"[t]\nx = 1\n", B: b"t = 3\n"}).data == {"t": 3}
    assert lay({A: b"t = [1]\n", B: b"[[t]]\nx = 1\n"}).data == {"t": [{"x": 1}]}


def test_which_files_there_are(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    with pytest.raises(ConfigUnreadable, match="No such file"):
        read_files(path)
    path.write_bytes(b"1")
    assert read_files(path) == {path: b"1"}
    (folder := tmp_path / "agent.d").mkdir()
    for name in ("b.toml", "a.toml", ".c.toml", "a.toml.swp", "a.toml~", "#a.toml#"):
        (folder / name).write_bytes(name.encode())
    assert list(read_files(path)) == [path, folder / "a.toml", folder / "b.toml"]
    os.mkfifo(folder / "d.toml")
    with pytest.raises(ConfigUnreadable, match=r"d\.toml: cannot read it"):
        read_files(path)
    (folder / "d.toml").unlink()
    for nth in range(MOST_FILES):
        (folder / f"{nth}.toml").touch()
    with pytest.raises(ConfigInvalid, match="more than 256 files"):
        read_files(path)


def test_what_stands_in_the_place_of_the_folder_is_not_passed_over(tmp_path: Path) -> None:
    path, folder = tmp_path / "agent.toml", tmp_path / "agent.d"
    path.touch()
    folder.touch()
    with pytest.raises(ConfigUnreadable, match=r"agent\.d: cannot read it: Not a directory"):
        read_files(path)
    folder.unlink()
    folder.symlink_to(tmp_path / "away")
    with pytest.raises(ConfigUnreadable, match="it is a link to nowhere"):
        read_files(path)
    (tmp_path / "away").mkdir()
    assert list(read_files(path)) == [path]


def test_a_byte_that_is_no_text_has_its_place() -> None:
    with pytest.raises(ConfigInvalid, match="toml:2:5: it is not UTF-8"):
        lay({A: b"a = 1\nb = \xff\n"})


tables = st.dictionaries(
    st.sampled_from("abc"),
    st.integers(0, 9) | st.dictionaries(st.sampled_from("xy"), st.integers(0, 9), min_size=1),
    max_size=3,
)


def text_of(table: dict[str, int | dict[str, int]]) -> bytes:
    plain = [f"{key} = {value}\n" for key, value in table.items() if isinstance(value, int)]
    for key, value in table.items():
        if isinstance(value, dict):
            plain += [f"[{key}]\n", *(f"{inner} = {one}\n" for inner, one in value.items())]
    return "".join(plain).encode()


@given(tables, tables)
@settings(max_examples=60, deadline=None)
def test_laws(
    below: dict[str, int | dict[str, int]], above: dict[str, int | dict[str, int]]
) -> None:
    one, two = text_of(below), text_of(above)
    assert lay({A: one}).data == tomllib.loads(one.decode()), "one file is what tomllib reads"
    assert lay({A: one, B: b""}).data == lay({B: b"", A: one}).data
    both = lay({A: one, B: two})
    assert lay({A: one, B: two, Path("/z"): two}).data == both.data, "said twice is said once"
    for key, value in above.items():
        said = both.data[key]
        assert said == value or (isinstance(said, dict) and isinstance(value, dict))
        assert both.written[key,].path == str(B)
