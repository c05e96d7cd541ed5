"""Single values as people read them."""

import os
import subprocess
import sys

import pytest

from poolhand.agent.cli.render import items, percent, plain, span, table, time_left


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [(0, "0 s"), (119.6, "120 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 d")],
)
def test_a_span(duration_s: float, expected: str) -> None:
    assert span(duration_s) == expected


@pytest.mark.parametrize(
    ("left_s", "expected"),
    [
        (0.0, "0 s"),
        (119.4, "119 s"),
        (120.0, "2 min"),
        (179.9, "2 min 59 s"),
        (599.0, "9 min 59 s"),
        (3072.0, "51 min"),
        (10740.0, "2 h 59 min"),
        (86400.0 * 3 - 1, "2 d 23 h"),
        (86400.0 * 30, "30 d"),
    ],
)
def test_time_left_is_never_told_a_fifth_wrong(left_s: float, expected: str) -> None:
    assert time_left(left_s) == expected
    unit_s = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
    words = expected.split()
    said_s = sum(
        int(count) * unit_s[unit] for count, unit in zip(words[::2], words[1::2], strict=True)
    )
    assert said_s == pytest.approx(left_s, rel=0.1)


def test_a_ratio() -> None:
    assert percent(0.456) == "46 %"


def test_what_is_no_table_or_list_is_an_empty_one() -> None:
    assert table([1]) == {}
    assert table({"a": 1}) == {"a": 1}
    assert items({"a": 1}) == []
    assert items([1]) == [1]
    assert [plain(one) for one in (None, False, 1.50, "\u202eevil")] == ["-", "no", "1.5", "?evil"]


@pytest.mark.parametrize(
    ("environ", "told"),
    [({"TERM": "xterm"}, "True"), ({"TERM": "dumb"}, "False"), ({"NO_COLOR": "1"}, "False")],
)
def test_colours_are_for_terminals_that_have_them(environ: dict[str, str], told: str) -> None:
    program = "import sys; from poolhand.agent.cli.render import wants_colour as w; "
    words = [sys.executable, "-c", program + "sys.stderr.write(str(w()))"]
    plain_environ = {name: said for name, said in os.environ.items() if name != "NO_COLOR"}
    ours, theirs = os.openpty()
    try:
        for stdout, wanted in ((theirs, told), (subprocess.DEVNULL, "False")):
            ended = subprocess.run(  # noqa: S603  # our own program
                words,
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                check=True,
                timeout=30,
                env=plain_environ | environ,
            )
            assert ended.stderr == wanted
    finally:
        os.close(ours)
        os.close(theirs)
