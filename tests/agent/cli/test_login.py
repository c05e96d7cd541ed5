"""``login`` and ``logout``: from a terminal and a pipe, into a file and a keychain."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from poolhand.agent.cli.exits import Exit

URL = '# mine\n[coordinator]\nurl = "ws://127.0.0.1:1"  # here\n'
TOKEN = "tok-canary-5f0c"  # noqa: S105  # a made-up one

KEYCHAIN = """\
#!{python}
import pathlib, shlex, sys
here = pathlib.Path(__file__).parent
(here / "asked").open("a").write(" ".join(sys.argv[1:]) + "\\n")
words = shlex.split(sys.stdin.readline()) if sys.argv[1] == "-i" else sys.argv[1:]
item = here / ("item-" + words[words.index("-s") + 1])
if words[0] == "add-generic-password":
    item.write_bytes(bytes.fromhex(words[words.index("-X") + 1]))
elif not item.exists():
    sys.exit(44)
elif words[0] == "delete-generic-password":
    item.unlink()
else:
    print(item.read_text())
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "agent.toml"
    path.parent.mkdir()
    path.write_text(URL)
    return path


@pytest.fixture
def run(config: Path, tmp_path: Path) -> Run:
    """Run a verb with this configuration and something on its standard input."""

    def ran(*words: str, said: str = "", path: str = "") -> subprocess.CompletedProcess[str]:
        clean = {name: text for name, text in os.environ.items() if "POOLHAND" not in name}
        return subprocess.run(  # noqa: S603  # our own command
            [sys.executable, "-m", "poolhand.agent", *words, "--config", str(config)],
            input=said,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env=clean | {"HOME": str(tmp_path)} | ({"PATH": path} if path else {}),
        )

    return ran


def test_a_token_from_a_pipe_into_a_file_of_its_own(run: Run, config: Path) -> None:
    ended = run("login", said=f"{TOKEN}\n")
    token = config.with_name("token")
    assert ended.returncode == Exit.OK, ended.stderr
    assert token.read_text() == f"{TOKEN}\n"
    assert token.stat().st_mode & 0o777 == 0o600
    assert config.read_text() == f'{URL}token_file = "token"\n', "the file says where it is"
    assert TOKEN not in ended.stdout + ended.stderr
    assert run("config", "check").stdout == f"{config}: good\n"
    token.chmod(0o644)
    assert run("login", said="another").returncode == Exit.OK
    assert (token.read_text(), token.stat().st_mode & 0o777) == ("another\n", 0o600)
    assert config.read_text().count("token_file") == 1
    assert run("logout").stdout == f"deleted {token}\n"
    assert not token.exists()
    assert run("logout").stdout.startswith("nothing was stored")


def test_what_login_did_not_store_is_not_deleted(run: Run, config: Path) -> None:
    mine = config.with_name("mine")
    mine.write_text("my own\n")
    mine.chmod(0o600)
    config.write_text(f'{URL}token_file = "mine"\n')
    ended = run("logout")
    assert ended.returncode == Exit.FAILURE
    assert ended.stderr == f"poolhand: login has not stored {mine}: delete it yourself\n"
    assert mine.read_text() == "my own\n"
    assert run("login", said=TOKEN).returncode == Exit.OK
    mine.write_text("my own again\n")
    os.utime(mine, ns=(1, 1))
    assert run("logout").returncode == Exit.FAILURE, "what was stored was replaced since"
    assert mine.exists()
    assert run("login", said=TOKEN).returncode == Exit.OK
    assert run("logout").stdout == f"deleted {mine}\n"
    assert not mine.exists()


def test_the_record_says_where_and_not_what(run: Run, config: Path, tmp_path: Path) -> None:
    assert run("login", said=TOKEN).returncode == Exit.OK
    (record,) = tmp_path.rglob("login.json")
    assert str(config.with_name("token")) in record.read_text()
    assert TOKEN not in record.read_text()
    assert record.stat().st_mode & 0o777 == 0o600
    record.write_text("[broken")
    assert run("logout").returncode == Exit.FAILURE, "nothing is known: nothing is deleted"
    assert config.with_name("token").exists()


@pytest.mark.parametrize("said", ["", "\n", "two words\n", "x" * 9000, "a\x07b\n"])
def test_what_can_be_no_token_is_not_stored(run: Run, config: Path, said: str) -> None:
    ended = run("login", said=said)
    assert ended.returncode == Exit.CONFIG
    assert "standard input" in ended.stderr
    assert said.strip()[:9] not in ended.stderr or not said.strip()
    assert [one.name for one in config.parent.iterdir()] == ["agent.toml"]
    assert config.read_text() == URL


def test_it_is_never_an_argument(run: Run) -> None:
    ended = run("login", TOKEN)
    assert ended.returncode == Exit.USAGE
    ended = run("login", f"--token={TOKEN}")
    assert ended.returncode == Exit.USAGE


def test_a_place_that_is_its_owner_s_is_left_alone(run: Run, config: Path) -> None:
    for key, words in {"token_env": "variable X", "token_credential": "credential 'X'"}.items():
        config.write_text(f'{URL}{key} = "X"\n')
        for verb in ("login", "logout"):
            ended = run(verb, said=TOKEN)
            assert ended.returncode == Exit.FAILURE
            assert words in ended.stderr


def test_a_terminal_does_not_show_it(config: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "poolhand.agent", "login", "--config", str(config)]
    login = subprocess.Popen(  # noqa: S603  # our own command
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    os.close(theirs)
    shown = b""
    while b"not shown" not in shown:
        shown += os.read(ours, 1024)
    os.write(ours, f"{TOKEN}\n".encode())
    while True:
        try:
            more = os.read(ours, 1024)
        except OSError:
            break  # the other end is gone
        if not more:
            break
        shown += more
    assert login.wait(30) == 0
    os.close(ours)
    assert TOKEN.encode() not in shown
    assert config.with_name("token").read_text() == f"{TOKEN}\n"


def test_the_keychain_of_a_mac(run: Run, config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "security").write_text(KEYCHAIN.format(python=sys.executable))
    (folder / "security").chmod(0o755)
    ended = run("login", "--keychain", said=TOKEN, path=str(folder))
    assert ended.returncode == Exit.OK, ended.stderr
    assert (folder / "item-poolhand").read_text() == TOKEN
    assert config.read_text() == f'{URL}token_keychain = "poolhand"\n'
    assert TOKEN not in (folder / "asked").read_text() + ended.stdout
    assert (
        "token: keychain entry 'poolhand': there" in run("config", "show", path=str(folder)).stdout
    )
    assert run("logout", path=str(folder)).stdout == "deleted keychain entry 'poolhand'\n"
    assert not (folder / "item-poolhand").exists()
    config.write_text(f'{URL}token_file = "token"\n')
    ended = run("login", "--keychain", said=TOKEN, path=str(folder))
    assert "take that key out first" in ended.stderr
    config.write_text(URL)
    ended = run("login", "--keychain", said=TOKEN, path="/nowhere")
    assert ended.returncode == Exit.CONFIG
    assert "no keychain on this machine" in ended.stderr
    assert config.read_text() == URL
