"""Boards: on a real terminal, through a pipe, and their parts."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as knobs
from hypothesis import strategies as st

from poolhand.agent.cli.board import Sparks, clipped, frame
from poolhand.agent.cli.exits import Exit
from poolhand.agent.cli.render import sparkline
from poolhand.agent.cli.top import drawn

from .conftest import Cli, Daemon

STATUS: dict[str, object] = {
    "serving": True,
    "why_not": [],
    "line": {"state": "online", "since_s": 125.0, "url": "ws://h/ws/provider"},
    "max_model_slots": 2,
    "slots": [
        {"model": "org/a", "state": "ready", "for_s": 5.0, "requests": 2, "decode_tps": 41.5,
         "holds_bytes": 5 * 2**30, "generated_tokens": 900},
        {"model": "org/long-name", "state": "downloading", "for_s": 9.0, "requests": 0,
         "bytes_done": 2**30, "bytes_total": 2**32, "rate_bytes_s": 2.0**20, "eta_s": 3072.0},
    ],
    "requests": {"running": 2, "requests_served": 7, "tokens_generated": 900},
}  # fmt: skip


class Terminal:
    """A terminal of so many columns and rows, with a program in it."""

    def __init__(self, command: list[str], columns: int, rows: int) -> None:
        self.mine, theirs = pty.openpty()
        self.resize(columns, rows)
        environ = {
            name: text for name, text in os.environ.items() if name not in {"LINES", "COLUMNS"}
        }
        self.process = subprocess.Popen(  # noqa: S603  # our own command
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=environ | {"PYTHONIOENCODING": "utf-8", "TERM": "xterm"},
        )
        os.close(theirs)
        self.said = ""

    def resize(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.mine, termios.TIOCSWINSZ, size)

    def until(self, pattern: str) -> str:
        """Read on until what was not read yet has this; give that back."""
        give_up_s = time.monotonic() + 30
        while (found := re.search(pattern, self.said)) is None:
            assert time.monotonic() < give_up_s, self.said
            if select.select([self.mine], [], [], 1)[0]:
                try:
                    self.said += os.read(self.mine, 2**16).decode(errors="replace")
                except OSError:  # Linux says so when the program has left
                    self.said += "[left]"
        said, self.said = self.said[: found.end()], self.said[found.end() :]
        return said

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        os.close(self.mine)


@contextmanager
def terminal(state: Path, *words: str, columns: int = 100, rows: int = 40) -> Generator[Terminal]:
    command = [sys.executable, "-m", "poolhand.agent", *words, "--state-dir", str(state)]
    opened = Terminal(command, columns, rows)
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.parametrize("words", [("status", "--watch"), ("top",)], ids=lambda words: words[0])
def test_a_board_lives_on_a_screen_of_its_own_and_leaves_cleanly(
    daemon: Daemon, words: tuple[str, ...]
) -> None:
    with terminal(daemon({"/v1/status": STATUS}), *words, "--interval", "0.1") as seen:
        first = seen.until(r"\x1b\[\?2026l")
        assert first.startswith("\x1b[?1049h\x1b[?25l\x1b[?2026h\x1b[H")
        assert "org/long-name" in first
        assert "25 %" in first
        assert "tokens/s" in first
        second = seen.until(r"\x1b\[\?2026l")
        assert second.startswith("\x1b[?2026h\x1b[H"), "drawn over the last, which is not cleared"
        assert "\x1b[2J" not in second
        seen.resize(30, 6)
        seen.until(r"more line\(s\)")
        small = seen.until(r"more line\(s\)\x1b\[K\x1b\[J\x1b\[\?2026l")
        rows = small.rpartition("\x1b[H")[2].replace("\x1b[J\x1b[?2026l", "").splitlines()
        rows = [row for row in rows if row]
        assert len(rows) == 6
        assert rows[-1].startswith("… and ")
        wide = [row for row in rows if len(re.sub(r"\x1b\[[0-9;]*[a-zA-Z]", "", row)) > 30]
        assert wide == []
        seen.process.send_signal(signal.SIGINT)
        assert seen.process.wait(20) == Exit.OK
        assert "\x1b[?25h\x1b[?1049l" in seen.until(r"1049l")


def test_a_board_that_is_told_to_leave_gives_the_screen_back(daemon: Daemon) -> None:
    with terminal(daemon({"/v1/status": STATUS}), "top") as seen:
        seen.until(r"\x1b\[\?2026l")
        seen.process.send_signal(signal.SIGTERM)
        assert "\x1b[?25h\x1b[?1049l" in seen.until(r"1049l")
        assert seen.process.wait(20) == Exit.OK


def test_an_agent_that_leaves_is_shown_as_gone(tmp_path: Path) -> None:
    with terminal(tmp_path / "none", "status", "--watch") as seen:
        assert "agent is not running" in seen.until(r"\x1b\[\?2026l")
        seen.process.send_signal(signal.SIGINT)
        assert seen.process.wait(20) == Exit.NOT_RUNNING


@pytest.mark.parametrize("option", [(), ("--json",)], ids=["text", "json"])
def test_through_a_pipe_it_is_plain_text_again_and_again(
    daemon: Daemon, option: tuple[str, ...]
) -> None:
    words = ["status", "--watch", "--interval", "0.1", *option]
    command = [sys.executable, "-m", "poolhand.agent", *words]
    with subprocess.Popen(  # noqa: S603  # our own command
        [*command, "--state-dir", str(daemon({"/v1/status": STATUS}))],
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        said = [watching.stdout.readline() for _ in range(3 if option else 30)]
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == Exit.OK
    assert not any("\x1b" in line for line in said)
    if option:
        assert [json.loads(line) for line in said] == [STATUS] * 3
    else:
        assert said.count("serving: yes\n") >= 2


def test_one_picture_of_top(here: Cli, daemon: Daemon) -> None:
    state = daemon({"/v1/status": STATUS})
    ended = here("top", "--once", "--state-dir", state)
    progress = "[######..................] 25 %  1.0 MiB/s  ETA 51 min"
    assert ended.returncode == Exit.OK
    assert ended.stdout.splitlines() == [
        "serving: yes",
        "line      online  for 2 min  ws://h/ws/provider",
        "requests  2 running, 0 waiting; 7 served, 900 tokens",
        "memory    unknown size of unknown size free",
        "",
        "model          state        for  requests  tokens/s  holds    progress",
        "org/a          ready        5 s  2         42        5.0 GiB",
        f"org/long-name  downloading  9 s  0         -         -        {progress}",
    ]
    assert json.loads(here("top", "--json", "--state-dir", state).stdout) == STATUS


def test_top_of_nobody(here: Cli, tmp_path: Path) -> None:
    ended = here("top", "--once", "--state-dir", tmp_path)
    assert ended.returncode == Exit.NOT_RUNNING
    assert "agent is not running" in ended.stdout


def test_sparks_follow_a_count_that_is_read_at_heartbeats() -> None:
    sparks = Sparks()
    for now_s, count in enumerate([100, 100, 100, 130, 130, 130, 160]):
        sparks.told(float(count), float(now_s))
    assert sparks.rate == 10, "thirty tokens in three seconds"
    assert sparks.text(is_ascii=True).endswith("# 10 tokens/s")
    for now_s in range(7, 20):
        sparks.told(160.0, float(now_s))
    assert sparks.rate == 0
    sparks.told(5.0, 21.0)
    assert sparks.rate == 0, "another engine counts anew"
    sparks.told(None, 22.0)
    assert sparks.rate == 0


def test_bars_are_as_high_as_their_figures() -> None:
    assert sparkline([0, 1, 4, 8]) == " ▁▄█"
    assert sparkline([0, 7], is_ascii=True) == " #"
    assert sparkline([]) == ""
    assert sparkline([0, -1]) == "  "


@given(st.lists(st.text(alphabet="ab\x1b[m31; ", max_size=30), max_size=9),
       st.integers(1, 40), st.integers(1, 8))  # fmt: skip
@knobs(max_examples=100, deadline=None)
def test_law_a_frame_fits(lines: list[str], columns: int, rows: int) -> None:
    body = frame(lines, columns, rows).rpartition("\x1b[H")[2].removesuffix("\x1b[J\x1b[?2026l")
    shown = body.split("\r\n")
    assert len(shown) <= max(rows, 1)
    for row in shown:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", row.removesuffix("\x1b[K"))
        assert len(plain) <= columns


def test_colours_take_no_room() -> None:
    assert clipped("serving: \x1b[1;32myes\x1b[0m and more", 12) == "serving: \x1b[1;32myes\x1b[0m"


@given(
    st.dictionaries(
        st.sampled_from([*STATUS]),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(
                    st.sampled_from(["model", "state", "bytes_done", "bytes_total", "eta_s"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=6,
        ),
    )
)
@knobs(max_examples=100, deadline=None)
def test_law_any_answer_can_be_drawn(answer: Mapping[str, object]) -> None:
    assert next(drawn(answer)).startswith("serving: ")
    assert all(line.isprintable() for line in drawn(answer))
