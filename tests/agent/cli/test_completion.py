"""Completions: every word of the parser, in scripts that the shells themselves take."""

import shutil
import subprocess

import pytest

from poolhand.agent.cli import completion, shells, words
from poolhand.agent.cli.exits import Exit
from poolhand.agent.cli.main import VERBS, whole_parser

from .conftest import Cli

TREE = words.tree(whole_parser())


def run(shell: str, script: str) -> str:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed here")
    ended = subprocess.run(  # noqa: S603  # a shell of this machine
        [program, "-c", script], capture_output=True, text=True, check=False, timeout=30
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    return ended.stdout


def completed(line: str) -> set[str]:
    """What bash would offer after these words."""
    given = line.split(" ")
    script = shells.bash(TREE) + (
        f"\nCOMP_WORDS=({' '.join(word or chr(39) * 2 for word in given)})"
        f"\nCOMP_CWORD={len(given) - 1}\n_poolhand\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    )
    return set(run("bash", script).split())


def test_the_tree_has_every_verb_with_its_purpose() -> None:
    assert set(TREE["poolhand"].below) == {*VERBS, "version"}
    assert set(TREE["poolhand pool"].below) == {"status", "set", "release"}
    assert "--now" in TREE["poolhand pool set"].options
    assert TREE["poolhand pool set"].values["POOL"]
    assert all(found.purpose for path, found in TREE.items() if path != "poolhand version")


def test_bash_offers_what_may_follow() -> None:
    assert {"status", "pool", "drain"} <= completed("poolhand ")
    assert completed("poolhand undr") == {"undrain"}
    assert {"set", "release", "status"} <= completed("poolhand pool ")
    assert completed("poolhand pool set --n") == {"--now", "--no-wait"}
    assert completed("poolhand --json pool rel") == {"release"}
    assert {"bash", "zsh", "fish"} <= completed("poolhand completion ")


def offered_by_zsh(line: str) -> set[str]:
    """What zsh would choose among after these words; its own part is left out."""
    given = line.split(" ")
    script = (
        "compdef() { }\ncompadd() { shift; print -l -- $@ }\n"
        f"{shells.zsh(TREE)}\nwords=({' '.join(word or chr(39) * 2 for word in given)})"
        f"\nCURRENT={len(given)}\n_poolhand\n"
    )
    return set(run("zsh", script).split())


def test_zsh_offers_the_same() -> None:
    assert {"status", "pool", "drain"} <= offered_by_zsh("poolhand ")
    assert {"set", "release", "status"} <= offered_by_zsh("poolhand pool ")
    assert {"--now", "--no-wait"} <= offered_by_zsh("poolhand pool set --n")
    assert "fetch" not in offered_by_zsh("poolhand pool ")


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_each_shell_takes_its_script(here: Cli, shell: str) -> None:
    ended = here("completion", shell)
    assert (ended.returncode, ended.stderr) == (Exit.OK, "")
    for verb in VERBS:
        assert verb in ended.stdout
    if shell == "bash":
        assert run("bash", f"{ended.stdout}\ncomplete -p poolhand").strip().endswith("poolhand")
    if shell == "fish":
        assert all(line.startswith("complete -c poolhand ") for line in ended.stdout.splitlines())
        run("fish", ended.stdout)


def test_a_shell_that_is_none(here: Cli) -> None:
    assert here("completion", "cmd").returncode == Exit.USAGE
