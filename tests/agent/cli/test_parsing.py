"""What a mistyped command line is told, and streams that take little or nothing."""

import subprocess
import sys

import pytest

from poolhand.agent.cli.exits import Exit
from poolhand.agent.cli.main import main

from .conftest import Cli


@pytest.mark.parametrize(
    ("words", "usage", "told"),
    [
        ("stats", "poolhand [-h]", "'stats' (did you mean status?)"),
        ("models lst", "poolhand models [-h]", "'lst' (did you mean list?)"),
        ("completion bsh", "poolhand completion", "'bsh' (did you mean bash?)"),
        ("status --jsno", "poolhand status", "--jsno (did you mean --json?)"),
        ("models list --state-dri x", "poolhand models list", "(did you mean --state-dir?)"),
        ("config get --jason key", "poolhand config get", "--jason (did you mean --json?)"),
        ("pool xyz", "poolhand pool", "'xyz' (choose from status, set, release)"),
        ("status --zzzzzz", "poolhand status", "unrecognized arguments: --zzzzzz\n"),
        ("drain now", "poolhand drain", "unrecognized arguments: now"),
        ("", "poolhand [-h]", "required: VERB (choose from run, status, "),
        ("pool", "poolhand pool", "required: ACTION (choose from status, set, release)"),
        ("pin", "poolhand pin", "required: MODEL\n"),
    ],
)
def test_a_mistyped_word_is_told_what_it_may_have_been(
    capsys: pytest.CaptureFixture[str], words: str, usage: str, told: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == Exit.USAGE
    said = capsys.readouterr().err
    assert said.startswith(f"usage: {usage}")
    assert told in said


def test_a_stream_that_is_closed_ends_no_verb() -> None:
    script = '"$0" -m poolhand.agent "$@" >&-'
    for words, code in ((["version"], 0), (["status", "--state-dir", "/none"], Exit.NOT_RUNNING)):
        ended = subprocess.run(  # noqa: S603  # our own command
            ["/bin/sh", "-c", script, sys.executable, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (ended.returncode, ended.stderr) == (code, "")


def test_a_reader_that_leaves_gets_no_traceback() -> None:
    script = '"$0" -m poolhand.agent completion fish | head -n 1'
    ended = subprocess.run(  # noqa: S603  # our own command
        ["/bin/sh", "-c", script, sys.executable],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.stdout, ended.stderr) == ("complete -c poolhand -f\n", "")


def test_a_locale_that_knows_few_letters_ends_no_verb(cli: Cli) -> None:
    plain = {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "TERM": "dumb"}
    ended = cli("models", "fetch", "--help", **plain, COLUMNS="40")
    assert (ended.returncode, ended.stderr) == (Exit.OK, "")
    assert ended.stdout.isascii()
