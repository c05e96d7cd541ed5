"""Lists of checksums, in the forms that tools print them."""

import contextlib
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.checksums import ChecksumsInvalid, parse

A, B = "a" * 64, "0123456789ABCDEF" * 4
SHA256SUM = shutil.which("sha256sum")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (f"{A}  config.json", "config.json"),
        (f"{A} *model.safetensors", "model.safetensors"),
        (f"{A}  ./sub/a b.txt\r", "sub/a b.txt"),
        (f"{A}   leading.txt", " leading.txt"),
        (f"\\{A}  a\\\\b\\nc", "a\\b\nc"),
        (f"{A}  a\\nb", "a\\nb"),
        (f"SHA256 (a (b).txt) = {A}", "a (b).txt"),
        (f"# made by hand\n\n{A}  x", "x"),
    ],
)
def test_every_form(line: str, name: str) -> None:
    assert parse(line.encode()) == {name: A}


def test_digests_are_told_in_lower_case() -> None:
    assert parse(f"{B}  x".encode()) == {"x": B.lower()}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no file"),
        (b"# nothing\n", "no file"),
        (b"\xff", "UTF-8"),
        (f"{A[:-1]}  x".encode(), "line 1"),
        (f"{A} x".encode(), "line 1"),
        (f"{A}  ".encode(), "line 1"),
        (f"{A}  x\nhello".encode(), "line 2"),
        (f"{A}  x\n{B}  ./x".encode(), "two digests"),
        (f"\\{A}  a\\qb".encode(), "escape"),
        (f"\\{A}  a\\".encode(), "escape"),
    ],
)
def test_what_is_no_list_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ChecksumsInvalid, match=problem):
        _ = parse(data)


def test_the_same_line_twice_is_one() -> None:
    assert parse(f"{A}  x\n{A} *x\n".encode()) == {"x": A}


def printed(name: str, digest: str) -> str:
    """How GNU prints one line: escaped as soon as the name needs it."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != name else ""
    return f"{mark}{digest}  {escaped}"


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(
    lambda name: not name.startswith("./")
)


@given(st.dictionaries(NAMES, st.binary().map(lambda data: sha256(data).hexdigest()), min_size=1))
def test_what_is_printed_is_read_back(found: dict[str, str]) -> None:
    text = "\n".join(printed(name, digest) for name, digest in found.items()) + "\n"
    assert parse(text.encode()) == found


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    with contextlib.suppress(ChecksumsInvalid):
        assert parse(data)


@pytest.mark.skipif(SHA256SUM is None, reason="no sha256sum here")
def test_the_real_tool(tmp_path: Path) -> None:
    names = ["plain", "two words", "back\\slash", "new\nline", "*star", "ü"]
    for name in names:
        (tmp_path / name).write_text(name)
    for option in ("--text", "--binary", "--tag"):
        told = subprocess.run(  # noqa: S603  # the tool itself
            [str(SHA256SUM), option, "--", *names], cwd=tmp_path, capture_output=True, check=True
        )
        assert parse(told.stdout) == {n: sha256(n.encode()).hexdigest() for n in names}
