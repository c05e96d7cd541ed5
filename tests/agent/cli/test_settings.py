"""``config``: read, shown, changed and compared; nothing is started and no secret shown."""

import json
import tomllib
from pathlib import Path

from poolhand.agent.cli.exits import Exit

from .conftest import Cli, Daemon

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


def test_a_first_file_holds_and_is_not_replaced_by_accident(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "etc" / "agent.toml"
    ended = cli("config", "init", "--config", path, "--url", "wss://c.test")
    assert (ended.returncode, ended.stdout) == (Exit.OK, f"wrote {path}\n")
    text = path.read_text()
    assert text.startswith("#:schema ./agent.schema.json\n")
    assert tomllib.loads(text)["coordinator"] == {"url": "wss://c.test"}
    assert json.loads((path.parent / "agent.schema.json").read_text())["required"]
    assert cli("config", "check", "--config", path).stdout == f"{path}: good\n"
    ended = cli("config", "init", "--config", path)
    assert (ended.returncode, path.read_text()) == (Exit.FAILURE, text)
    assert "--force replaces it" in ended.stderr
    ended = cli("config", "init", "--config", path, "--force")
    assert "poolhand config set coordinator.url" in ended.stdout
    ended = cli("config", "check", "--config", path)
    assert ended.returncode == Exit.OK
    assert "still the example" in ended.stdout
    ended = cli("config", "init", "--config", path, "--force", "--url", "ftp://x")
    assert ended.returncode == Exit.CONFIG
    assert "still the example" in cli("config", "check", "--config", path).stdout


def test_the_file_that_init_writes_speaks_of_keys_that_exist(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    cli("config", "init", "--config", path)
    opened = [
        line.removeprefix("# ")
        for line in path.read_text().splitlines()
        if not line.startswith("#") or " = " in line or line.startswith(("# [", "# [["))
    ]
    path.write_text("\n".join(opened).replace("quota_gib", "quota_gib") + "\n")
    assert cli("config", "check", "--config", path).returncode == Exit.OK, path.read_text()


def test_every_value_is_shown_with_its_origin(cli: Cli, tmp_path: Path) -> None:
    path, more = tmp_path / "a.toml", tmp_path / "a.d" / "x.toml"
    more.parent.mkdir()
    path.write_text(f"{URL}[stores.s3]\nendpoint = 'http://u:{CANARY}@h'\n")
    more.write_text("[slots]\nmax_model_slots = 2\n")
    environ = {"POOLHAND_REQUESTS__DRAIN_S": "3.0", "POOLHAND_TOKEN": CANARY}
    ended = cli("config", "show", "--config", path, **environ)
    lines = [" ".join(line.split()) for line in ended.stdout.splitlines()]
    assert lines == [
        f'coordinator.url = "ws://127.0.0.1:1" # {path}:2',
        f"slots.max_model_slots = 2 # {more}:2",
        f'stores.s3.endpoint = "http://***@h" # {path}:4',
        "requests.drain_s = 3.0 # environment POOLHAND_REQUESTS__DRAIN_S",
        "# token: environment variable POOLHAND_TOKEN: there",
    ]
    told = cli("config", "show", "--effective", "--json", "--config", path, **environ).stdout
    assert CANARY not in ended.stdout + told
    report = json.loads(told)
    assert report["files"] == [str(path), str(more)]
    assert report["values"]["memory.reserve_gib"] == {
        "value": 0.5, "kind": "default", "origin": "default",
    }  # fmt: skip
    assert report["values"]["slots.max_model_slots"]["kind"] == "file"
    assert len(report["values"]) > 50


def test_one_value(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f"{URL}[[models]]\nid = 'org/a'\nref = 'file:///a'\n")
    for key, out in {
        "coordinator.url": "ws://127.0.0.1:1\n",
        "models[org/a].ref": "file:///a\n",
        "pools.allowed": "[]\n",
        "cache.dir": "",
        "control": "control.openai_api = false\ncontrol.port = unset\ncontrol.key_file = unset\n",
    }.items():
        ended = cli("config", "get", key, "--config", path)
        assert (ended.returncode, ended.stdout) == (Exit.OK, out)
    assert json.loads(cli("config", "get", "slots", "--json", "--config", path).stdout)
    ended = cli("config", "get", "slots.max", "--config", path)
    assert (ended.returncode, ended.stdout) == (Exit.USAGE, "")


def test_a_key_is_set_and_all_else_stays(cli: Cli, tmp_path: Path) -> None:
    path, more = tmp_path / "a.toml", tmp_path / "a.d" / "x.toml"
    more.parent.mkdir()
    path.write_text(f"# mine\n{URL}[slots]\nmax_model_slots = 1  # one\n")
    path.chmod(0o640)
    more.write_text("[[models]]\nid = 'org/a'\nref = 'file:///a'  # here\n")
    ended = cli("config", "set", "slots.max_model_slots", "2", "--config", path)
    assert "takes it over at once" in ended.stdout
    assert path.read_text() == f"# mine\n{URL}[slots]\nmax_model_slots = 2  # one\n"
    assert path.stat().st_mode & 0o777 == 0o640
    ended = cli("config", "set", "models[org/a].ref", "s3://bucket/a", "--config", path)
    assert more.read_text() == "[[models]]\nid = 'org/a'\nref = \"s3://bucket/a\"  # here\n"
    before = path.read_text()
    for key, value, code in (
        ("slots.max_model_slots", "65", Exit.CONFIG),
        ("slots.max_model_slots", "two", Exit.USAGE),
        ("slots.max", "2", Exit.USAGE),
        ("slots", "2", Exit.USAGE),
        ("pools.assigned", "nobody", Exit.CONFIG),
    ):
        assert cli("config", "set", key, value, "--config", path).returncode == code
        assert path.read_text() == before
    environ = {"POOLHAND_CACHE__QUOTA_GIB": "3.0"}
    ended = cli("config", "set", "cache.quota_gib", "5.0", "--config", path, **environ)
    assert "environment POOLHAND_CACHE__QUOTA_GIB says otherwise" in ended.stdout
    ended = cli("config", "set", "log.format", "json", "--json", "--config", path)
    assert json.loads(ended.stdout) == {
        "key": "log.format", "file": str(path), "holds": "restart", "overridden_by": None,
    }  # fmt: skip


def test_the_difference_to_the_running_agent(cli: Cli, tmp_path: Path, daemon: Daemon) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f"{URL}[slots]\nmax_model_slots = 2\n[cache]\ndir = '/x'\n")
    values = json.loads(cli("config", "show", "--effective", "--json", "--config", path).stdout)
    running = {key: one["value"] for key, one in values["values"].items()}
    running |= {"slots.max_model_slots": 1, "cache.dir": None, "log.level": "debug"}
    origins = {"log.level": "environment POOLHAND_LOG__LEVEL"}
    told = {"path": str(path), "settings": running, "origins": origins, "pending": ["cache.dir"]}
    where = ("--state-dir", daemon({"/v1/config": told}))
    assert cli("config", "diff", *where).stdout.splitlines() == [
        "slots.max_model_slots: 1 -> 2  (at once)",
        'cache.dir: unset -> "/x"  (after a restart)',
    ]
    report = json.loads(cli("config", "diff", "--json", *where).stdout)
    assert report["differences"] == {"slots.max_model_slots": [1, 2], "cache.dir": [None, "/x"]}
    ended = cli("config", "diff", "--state-dir", tmp_path / "none")
    assert ended.returncode == Exit.FAILURE
    assert "agent is not running" in ended.stderr


def test_the_schema_is_printed(cli: Cli) -> None:
    assert json.loads(cli("config", "schema").stdout)["additionalProperties"] is False
