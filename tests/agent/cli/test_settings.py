"""``config check``: the same reading as at the start, with every problem."""

import json
from pathlib import Path

from poolhand.agent.cli.exits import Exit

from .conftest import Cli

URL = '[coordinator]\nurl = "ws://127.0.0.1:1"\n'
CANARY = "tok-canary-5f0c"


def test_a_good_file(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(URL)
    ended = cli("config", "check", "--config", path)
    assert (ended.returncode, ended.stdout) == (Exit.OK, f"{path}: good\n")
    report = json.loads(cli("config", "check", "--json", POOLHAND_CONFIG=str(path)).stdout)
    assert report == {"ok": True, "path": str(path), "problems": [], "warnings": []}


def test_the_users_own_file_is_the_default(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "xdg" / "poolhand"
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text(URL)
    ended = cli("config", "check", XDG_CONFIG_HOME=str(tmp_path / "xdg"))
    assert ended.stdout.endswith("agent.toml: good\n")


def test_every_problem_is_told_and_the_code_is_78(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(URL + "zzz = 1\n[slots]\nmax_model_slot = 1\n")
    ended = cli("config", "check", "--config", path)
    assert ended.returncode == Exit.CONFIG
    assert ended.stdout.splitlines()[:2] == [
        f"{path}:3:1: unknown key coordinator.zzz",
        f"{path}:5:1: unknown key slots.max_model_slot (did you mean max_model_slots?)",
    ]
    report = json.loads(cli("config", "check", "--json", "--config", path).stdout)
    assert (report["ok"], len(report["problems"])) == (False, 2)


def test_the_token_is_checked_and_never_shown(cli: Cli, tmp_path: Path) -> None:
    path, token = tmp_path / "a.toml", tmp_path / "token"
    path.write_text(f'{URL}token_file = "token"\n')
    ended = cli("config", "check", "--config", path)
    assert ended.returncode == Exit.OK
    assert f"warning: file {token} is not there" in ended.stdout
    for mode, content, code in (
        (0o644, CANARY, Exit.CONFIG),
        (0o600, f"{CANARY} {CANARY}", Exit.CONFIG),
        (0o600, f"{CANARY}\n", Exit.OK),
    ):
        token.write_text(content)
        token.chmod(mode)
        for extra in ((), ("--json",)):
            ended = cli("config", "check", "--config", path, *extra, POOLHAND_TOKEN=CANARY)
            assert ended.returncode == code
            assert CANARY not in ended.stdout + ended.stderr
