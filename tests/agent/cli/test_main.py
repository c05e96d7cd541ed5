"""Verbs, exit codes, and what a verb does not import."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from poolhand import __version__
from poolhand.agent.cli import main as cli_main
from poolhand.agent.cli.dev import TOOLS
from poolhand.agent.cli.exits import MEANINGS, Exit
from poolhand.agent.cli.main import VERBS, main, whole_parser

from .conftest import Cli, Daemon

URL = '[coordinator]\nurl = "ws://127.0.0.1:1"\n'
HEAVY = (
    "asyncio",
    "pydantic",
    "websockets",
    "nacl",
    "psutil",
    "aiofiles",
    "aiobotocore",
    "mlx",
    "ssl",
)


def heavy_after(*args: str) -> tuple[set[str], int]:
    """The heavy modules that a verb has imported, and its exit code."""
    program = (
        "import sys\nfrom poolhand.agent.cli.main import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        "print('\\nIMPORTED', code, *sys.modules)"
    )
    ended = subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-c", program, *args],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    _, _, told = ended.stdout.rpartition("IMPORTED ")
    code, *modules = told.split()
    assert "poolhand.agent.cli.main" in modules
    return {name.split(".")[0] for name in modules} & set(HEAVY), int(code)


def test_the_version(cli: Cli) -> None:
    for args in (("--version",), ("version",)):
        ended = cli(*args)
        assert (ended.returncode, ended.stdout) == (0, f"poolhand {__version__}\n")


def test_the_version_imports_nothing_heavy() -> None:
    assert heavy_after("--version") == (set(), 0)
    assert heavy_after("version") == (set(), 0)
    assert heavy_after("--help") == (set(), 0)


def test_status_imports_nothing_heavy(tmp_path: Path, daemon: Daemon) -> None:
    state = daemon({"/v1/status": {"serving": True}})
    modules, code = heavy_after("status", "--state-dir", str(state))
    assert (modules, code) == (set(), 0)
    modules, code = heavy_after("status", "--state-dir", str(tmp_path / "none"))
    assert (modules, code) == (set(), Exit.NOT_RUNNING)


@pytest.mark.parametrize("verb", [("config", "check"), ("config", "show"), ("models", "show", "a")])
def test_reading_a_configuration_imports_nothing_heavy(
    verb: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "a.toml").write_text(URL)
    modules, code = heavy_after(*verb, "--config", str(tmp_path / "a.toml"))
    assert modules == set()
    assert code in {Exit.OK, Exit.FAILURE}


def test_the_check_would_notice_what_is_heavy(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(URL.replace("url", "ulr"))
    modules, code = heavy_after("run", "--config", str(tmp_path / "a.toml"))
    assert modules >= {"asyncio", "pydantic", "websockets"}
    assert code == Exit.CONFIG


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["stat"],
        ["run", "--token", "x"],
        ["run", "--conf", "x"],
        ["models"],
        ["models", "drop"],
        ["dev", "nothing"],
    ],
)
def test_a_command_line_that_is_not_understood(
    capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == Exit.USAGE
    assert capsys.readouterr().err.startswith("usage: poolhand")


@pytest.mark.parametrize("verb", ["run", "status", "models list", "models fetch", "config check"])
def test_no_verb_takes_a_token(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    with pytest.raises(SystemExit):
        main([*verb.split(), "--help"])
    told = capsys.readouterr().out
    assert "--config" in told
    assert re.search(r"\btokens?\b", told.lower()) is None, "a tokenizer is none"


def test_the_help_and_the_docstring_tell_every_exit_code(cli: Cli) -> None:
    text = cli("--help").stdout
    document = (cli_main.__doc__ or "").replace("``", "")
    assert [code for code, _ in MEANINGS] == list(Exit)
    for code, meaning in MEANINGS:
        assert f"{code.value:>5}  {meaning}" in text
        assert f"\n{code.value:<8}{meaning}" in document


def test_a_run_with_a_bad_file_ends_with_78_line_and_suggestion(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(URL + "hearbeat_interval_s = 5\n[slots]\nmax_model_slots = 0\n")
    ended = cli("run", "--config", path, "--state-dir", tmp_path / "state")
    assert ended.returncode == Exit.CONFIG
    assert ended.stdout == ""
    first, *_, remedy = ended.stderr.splitlines()
    assert f"{path}:3:1: unknown key coordinator.hearbeat_interval_s" in first
    assert "did you mean heartbeat_interval_s?" in first
    assert "config check" in remedy


def test_a_run_with_no_file_ends_with_78(cli: Cli, tmp_path: Path) -> None:
    ended = cli("run", "--state-dir", tmp_path / "state", POOLHAND_CONFIG=str(tmp_path / "none"))
    assert ended.returncode == Exit.CONFIG
    assert f"{tmp_path}/none: cannot read it: No such file" in ended.stderr


@pytest.mark.parametrize("tool", list(TOOLS))
def test_a_dev_tool_explains_itself(cli: Cli, tool: str) -> None:
    ended = cli("dev", tool, "--help")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"usage: poolhand dev {tool}")


def test_a_list_without_agent_and_file_ends_with_78(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.toml").write_text("[coordinator]\nzzz = 1\n")
    args = ["models", "list", "--state-dir", str(tmp_path), "--config", str(tmp_path / "a.toml")]
    assert main(args) == Exit.CONFIG
    told = capsys.readouterr().err
    assert "a.toml:1:1: coordinator.url is missing" in told
    assert "a.toml:2:1: unknown key coordinator.zzz" in told, "all problems, not only the first"


def test_a_reader_that_leaves_is_no_traceback(tmp_path: Path, daemon: Daemon) -> None:
    state = daemon({"/v1/models": {"models": [{"id": "x" * 200}] * 2000}})
    with subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "-m", "poolhand.agent", "models", "list", "--state-dir", str(state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == Exit.FAILURE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("verb", [("completion", "bash"), ("config", "schema")])
def test_an_answer_that_finds_no_room_is_no_traceback(verb: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(  # noqa: S603  # our own command
            [sys.executable, "-m", "poolhand.agent", *verb],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=30,
        )
    said = "poolhand: cannot write: No space left on device\n"
    assert (ended.returncode, ended.stderr.startswith(said)) == (1, True), ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_interrupt_ends_with_130(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "control.sock"))
        door.listen()
        command = [sys.executable, "-m", "poolhand.agent", "status", "--state-dir", str(tmp_path)]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:  # noqa: S603  # our own command
            line, _ = door.accept()  # it has asked, and waits
            with line:
                process.send_signal(signal.SIGINT)
                assert process.wait(30) == Exit.INTERRUPTED
            assert process.stderr is not None
            assert process.stderr.read() == b""


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_has_a_file_and_its_own_help(cli: Cli, verb: str) -> None:
    ended = cli(verb, "--help")
    assert ended.returncode == 0
    assert ended.stdout.startswith(f"usage: poolhand {verb} ")
    assert VERBS[verb][1] in " ".join(ended.stdout.split())


@pytest.mark.parametrize(
    "words",
    [
        ("models",),
        ("models", "-h"),
        ("models", "fetch"),
        ("models", "fetch", "-h"),
        ("models", "fetch", "s3://a/b", "--conections", "3"),
        ("models", "fetch", "s3://a/b", "--connections", "x"),
        ("models", "fetsh"),
        ("models", "--json", "list"),
        ("pool", "sett"),
        ("status", "fetch"),
    ],
)
def test_a_verb_that_is_read_alone_is_read_as_among_all_others(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    said: list[tuple[object, str, str]] = []
    for read in (whole_parser().read, main):
        with pytest.raises(SystemExit) as end:
            _ = read(words)
        told = capsys.readouterr()
        said.append((end.value.code, told.out, told.err))
    assert said[0] == said[1]
