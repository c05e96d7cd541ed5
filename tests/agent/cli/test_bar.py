"""Progress in words, on a terminal and without one."""

import io

from poolhand.agent.cli.bar import Bar
from poolhand.backends.stores.base import Progress

MIB = 2**20


def test_lines_come_every_two_seconds_and_at_the_end() -> None:
    out = io.StringIO()
    bar = Bar(out, "org/a")
    bar.told(Progress(0, 0, phase="list"), 0.0)
    for tenth in range(1, 51):
        left_s = (100 - tenth) / 10
        told = Progress(tenth * MIB, 100 * MIB, 0, 10.0 * MIB, "fetch", eta_s=left_s)
        bar.told(told, tenth / 10)
    bar.close()
    assert out.getvalue().splitlines() == [
        "org/a: list …",
        "org/a: fetch 20 %  20.0 MiB of 100.0 MiB  10.0 MiB/s  ETA 8 s",
        "org/a: fetch 40 %  40.0 MiB of 100.0 MiB  10.0 MiB/s  ETA 6 s",
        "org/a: fetch 50 %  50.0 MiB of 100.0 MiB  10.0 MiB/s  ETA 5 s",
    ]


def test_a_terminal_has_one_living_line() -> None:
    out = io.StringIO()
    bar = Bar(out, "org/a", is_live=True)
    bar.told(Progress(50 * MIB, 100 * MIB, 50 * MIB, phase="fetch"), 0.0)
    bar.told(Progress(100 * MIB, 100 * MIB, 50 * MIB, phase="publish"), 1.0)
    bar.close()
    first, second = out.getvalue().removesuffix("\n").split("\r")[1:]
    assert first.startswith("[############............]  fetch 50 %")
    assert first.endswith("50.0 MiB were here")
    assert "publish 100 %" in second
    assert "/s" not in first + second, "nobody told a rate"
    assert len(second) >= len(first), "nothing of the old line stays"


def test_nothing_told_says_nothing() -> None:
    for is_live in (True, False):
        out = io.StringIO()
        Bar(out, "x", is_live=is_live).close()
        assert out.getvalue() == ""
