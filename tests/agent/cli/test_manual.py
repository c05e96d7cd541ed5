"""The manual page: every verb, every option, every exit code, and groff has nothing to say."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from poolhand.agent.cli import manual, words
from poolhand.agent.cli.exits import MEANINGS
from poolhand.agent.cli.main import VERBS, whole_parser

TREE = words.tree(whole_parser())
PAGE = manual.page(TREE)
PUBLISHED = Path(__file__).parents[3] / "packaging" / "man" / "poolhand.1"


def test_the_published_page_is_the_parser_s() -> None:
    assert PUBLISHED.read_text() == PAGE, "run `python docs/generate.py`"


def test_it_has_every_verb_option_and_code() -> None:
    said = PAGE.replace("\\-", "-")
    for verb in VERBS:
        assert re.search(rf'(?m)^\.SS "poolhand {verb}\b', said), verb
    for path, found in TREE.items():
        general = {"--help", "--version"}
        missing = [each for each in found.options if each not in said and each not in general]
        assert missing == [], path
    for code, meaning in MEANINGS:
        assert f".B {code.value}\n{meaning}".replace("-", "\\-") in PAGE


def test_groff_takes_it_as_it_is() -> None:
    program = shutil.which("groff") or shutil.which("mandoc")
    if program is None:
        pytest.skip("neither groff nor mandoc is installed here")
    options = ["-man", "-Tascii", "-ww"] if program.endswith("groff") else ["-Tlint", "-Wwarning"]
    ended = subprocess.run(  # noqa: S603  # the system's own formatter
        [program, *options], input=PAGE, capture_output=True, text=True, check=False, timeout=30
    )
    assert ended.returncode == 0
    assert ended.stderr == ""


def test_text_cannot_become_a_request() -> None:
    found = words.Words({}, {"--x": ".so /etc/passwd\n'br \\n"}, {}, '.a "b"')
    lines = manual.page({"poolhand": found, "poolhand x": found}).splitlines()
    assert not any(line.startswith((".so", "'", ".a")) for line in lines)
