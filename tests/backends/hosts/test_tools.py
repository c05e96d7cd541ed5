"""The system's own tools: what they printed, or nothing."""

import sys

from poolhand.backends.hosts.tools import run_tool


def test_what_a_tool_prints_is_given_whatever_its_exit_code() -> None:
    program = (
        "import sys; print('\\u00e4', flush=True); sys.stdout.buffer.write(b'\\xff'); sys.exit(3)"
    )
    assert run_tool((sys.executable, "-c", program)) == "\u00e4\n\ufffd"


def test_a_tool_that_is_not_there_says_nothing() -> None:
    assert run_tool(("/nowhere/at/all",)) is None


def test_a_tool_gets_no_input() -> None:
    assert run_tool((sys.executable, "-c", "import sys; print(len(sys.stdin.read()))")) == "0\n"
