"""What README.md and the pages tell people to type is typed here, or excused by name.

Each line of their ``sh`` blocks is played in a folder of its own with places and ports
replaced, or stands in ``EXCUSED`` with the reason and with what is checked instead. A command
that is in neither fails.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import pytest

from poolhand.agent.cli.units import VERBS as SERVICE_VERBS
from poolhand.agent.cli.units import add_arguments as add_service_arguments
from poolhand.config.load import load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [README, *(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))]
COORDINATOR = "wss://coordinator.example/ws/provider"
START_S = 20.0


def commands(page: str) -> list[str]:
    """Each line of the ``sh`` blocks, in order."""
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```", page)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


TYPED = sorted({command for page in PAGES for command in commands(page)})


def toml_of(page: str) -> str:
    """The one TOML block."""
    (text,) = re.findall(r"(?ms)^```toml\n(.*?)^```", page)
    return text


# ── how they are excused ──────────────────────────────────────────────────────────────


def is_named_by_a_bench(command: str) -> None:
    """A benchmark looks for what the page says to install."""
    wanted = command.rsplit(maxsplit=1)[-1]
    assert any(f'"{wanted}"' in path.read_text() for path in (ROOT / "bench").glob("*.py"))


def is_a_target(command: str) -> None:
    """``make -n`` knows how, without doing it."""
    ended = subprocess.run(  # noqa: S603  # a command of our own page
        ["make", "-n", *shlex.split(command)[1:]],  # noqa: S607  # the one on the path
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def is_in_make_check(command: str) -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0]
    assert command.removeprefix(".venv/bin/") in recipe.replace("$(RUN)/", "")


def is_in_the_smoke_run(command: str) -> None:
    """The wheel is installed into a clean environment there; here the extra has to exist."""
    smoke = (ROOT / "packaging" / "smoke.sh").read_text()
    assert ("-m venv" if "venv" in command else "-m pip install") in smoke
    extras = re.findall(r"\.\[(\w+)\]", command)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras) <= set(project["optional-dependencies"])


def is_a_choice_of_tests(command: str) -> None:
    """Its paths exist, its marks are declared, its word is in a test's name."""
    program, *arguments = shlex.split(command)
    assert program == ".venv/bin/pytest"
    paths = [ROOT / word for word in arguments if word.startswith("tests/")]
    assert all(path.exists() for path in paths)
    for option, value in pairwise(arguments):
        if option == "-m":
            options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]
            declared = {mark.partition(":")[0] for mark in options["ini_options"]["markers"]}
            assert set(re.findall(r"\w+", value)) - {"not", "and", "or"} <= declared
        if option == "-k":
            names = [re.findall(r"def (test_\w+)", path.read_text()) for path in paths]
            assert any(value in name for found in names for name in found)


def is_a_service_verb(command: str) -> None:
    """The verb takes these words; what it would do is played against stand-ins."""
    parser = ArgumentParser()
    add_service_arguments(parser)
    words = shlex.split(command)
    assert words[:2] == ["poolhand", "service"]
    assert parser.parse_args(words[2:]).action in dict(SERVICE_VERBS)


def is_about_files_that_are_here(command: str) -> None:
    """Files that it names and that are not the reader's own."""
    names = [word for word in shlex.split(command) if word.startswith("packaging/")]
    assert all((ROOT / name).is_file() for name in names)


Excuse = tuple[str, str, Callable[[str], None]]

EXCUSED: tuple[Excuse, ...] = (
    (r"make demo", "tests/agent/dev/test_demo.py plays it", is_a_target),
    (r"make test", "it is this very run", is_a_target),
    (r"make bench-(footprint|relay|verbs|weights)", "figures belong to a machine", is_a_target),
    (r"apt-get install nginx", "the machine is not ours to change", is_named_by_a_bench),
    (r"python3 -m venv /\S+", "packaging/smoke.sh makes one", is_in_the_smoke_run),
    (r"/\S+/pip install '\.\[default\]'", "it needs a package index", is_in_the_smoke_run),
    (r"poolhand service .*", "tests/agent/cli/test_units.py plays them", is_a_service_verb),
    (r"podman build .*", "there is no builder here", is_about_files_that_are_here),
    (r"kubectl .*", "there is no cluster here", is_about_files_that_are_here),
    (r"\.venv/bin/(ruff|basedpyright|lint-imports)\b.*", "`make check`", is_in_make_check),
    (r"\.venv/bin/pytest .*", "these tests run in this run", is_a_choice_of_tests),
    (r"\.venv/bin/python docs/generate\.py", "tests/test_docs.py runs it", lambda _: None),
)
"""By pattern: why it is not played here, and what is looked at instead."""


def excuse_of(command: str) -> Excuse | None:
    return next((one for one in EXCUSED if re.fullmatch(one[0], command)), None)


# ── how they are played ───────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Sandbox:
    """A folder that stands for the machine, and what runs in it.

    Attributes:
        swaps: What is replaced in a command, and by what.
        running: What was started and not ended, by its verb.
    """

    folder: Path
    held: ExitStack
    swaps: dict[str, str] = field(default_factory=dict[str, str])
    running: dict[str, "subprocess.Popen[str]"] = field(
        default_factory=dict[str, "subprocess.Popen[str]"]
    )

    @property
    def environ(self) -> Mapping[str, str]:
        """A home of its own, and nothing of ours or of a cloud."""
        ours = re.compile(r"(AWS|POOLHAND|XDG)_.*|(.*_)?PROXY", re.IGNORECASE)
        kept = {name: text for name, text in os.environ.items() if not ours.fullmatch(name)}
        return kept | {"HOME": str(self.folder), "AWS_EC2_METADATA_DISABLED": "true"}

    def words(self, command: str) -> list[str]:
        """The command's words, with everything replaced that would leave the folder."""
        words = shlex.split(command)
        if words[0] in {"poolhand", ".venv/bin/poolhand"}:
            words[:1] = [sys.executable, "-m", "poolhand.agent"]
        for old, new in self.swaps.items():
            words = [word.replace(old, new) for word in words]
        return words

    def play(self, command: str, said: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, with something on its standard input."""
        return subprocess.run(  # noqa: S603  # a command of our own page
            self.words(command),
            input=said,
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def start(self, command: str, ready: str) -> str:
        """Start a command that stays, and wait until a line of its output has ``ready``."""
        process = self.held.enter_context(
            subprocess.Popen(  # noqa: S603  # a command of our own page
                self.words(command),
                cwd=ROOT,
                env=self.environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        self.held.callback(process.kill)
        self.running[command] = process
        assert process.stdout is not None
        for line in process.stdout:
            if ready in line:
                return line
        pytest.fail(f"{command} ended with {process.wait(5)}")

    def end(self, command: str) -> int:
        """Ask it to leave, as a service manager would."""
        process = self.running.pop(command)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=START_S)
        return process.returncode


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with ExitStack() as held:
        yield Sandbox(tmp_path, held)


def until(question: Callable[[], bool]) -> None:
    """Look again and again until it is so."""
    give_up_s = time.monotonic() + START_S
    while not question():
        assert time.monotonic() < give_up_s
        time.sleep(0.02)


# ── the tests ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", TYPED)
def test_every_command_is_played_or_excused(command: str) -> None:
    excuse = excuse_of(command)
    if excuse is None:
        assert command in PLAYED, "neither played nor excused"
    else:
        assert command not in PLAYED
        _, reason, instead = excuse
        assert reason
        instead(command)


def test_no_excuse_is_left_over() -> None:
    patterns = {pattern for pattern, *_ in EXCUSED}
    used = {pattern for pattern in patterns for one in TYPED if re.fullmatch(pattern, one)}
    assert patterns - used == set()
    assert set(PLAYED) <= set(TYPED)


def test_the_excuses_name_what_exists() -> None:
    for _, reason, _ in EXCUSED:
        for name in re.findall(r"[\w/]+\.(?:py|sh)", reason):
            assert (ROOT / name).is_file(), name


PLAYED: Mapping[str, str] = MappingProxyType(
    {
        command: name
        for name, listed in {
            "run it": (
                "poolhand config check --config /etc/poolhand/agent.toml",
                "poolhand run --config /etc/poolhand/agent.toml",
                "poolhand status",
                "poolhand models list",
            ),
            "configure it": (
                "poolhand config init --url wss://coordinator.example/ws/provider",
                "poolhand login",
                "poolhand config check",
                "poolhand config set slots.max_model_slots 2",
                "poolhand config get slots",
                "poolhand config show --effective",
                "poolhand config diff",
            ),
            "link it": ("ln -s /opt/poolhand/bin/poolhand /usr/local/bin/poolhand",),
            "the dev world": (
                ".venv/bin/poolhand dev model /tmp/dev/models/tiny-a --name alpha",
                ".venv/bin/poolhand dev store --root /tmp/dev --port 9000 --anonymous",
                ".venv/bin/poolhand dev coordinator --port 8080 --alias tiny=org/tiny-a",
                "cp tests/data/first.toml /tmp/dev/agent.toml",
                ".venv/bin/poolhand run --config /tmp/dev/agent.toml --state-dir /tmp/dev/state",
                "curl -s http://127.0.0.1:8080/dev/state",
                """curl -s -d '{"model_id": "org/tiny-a"}' 'http://127.0.0.1:8080/dev/load?wait=0'""",
                (
                    """curl -s -d '{"key": "*.safetensors", "every": 3, "status": 503}'"""
                    " http://127.0.0.1:9000/_faults"
                ),
                "curl -s http://127.0.0.1:9000/_stats",
            ),
        }.items()
        for command in listed
    }
)
"""By command: the test below that plays it."""


def played(name: str) -> list[str]:
    return [command for command, where in PLAYED.items() if where == name]


def test_run_it(sandbox: Sandbox) -> None:
    """The file as it is printed: checked, run, asked, and stopped as a service would be."""
    check, run, status, models = played("run it")
    file = sandbox.folder / "etc" / "agent.toml"
    file.parent.mkdir()
    file.write_text(toml_of(README).replace(COORDINATOR, "ws://127.0.0.1:1/ws/provider"))
    sandbox.swaps["/etc/poolhand/agent.toml"] = str(file)

    ended = sandbox.play(check)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith(f"{file}: good\n")

    sandbox.start(run, "Dial")
    until(lambda: sandbox.play(status).returncode == 4)
    told = sandbox.play(status).stdout
    assert told.startswith("serving: no\n  no line to ws://127.0.0.1:1")
    listed = sandbox.play(models)
    assert listed.returncode == 0
    assert "org/tiny-a" in listed.stdout
    answer = json.loads(sandbox.play(f"{status} --json").stdout)
    assert answer["config"]["path"] == str(file)
    assert sandbox.end(run) == 0
    assert sandbox.play(status).returncode == 3


def test_configure_it(sandbox: Sandbox) -> None:
    """A first file, a token, one key changed; compared with an agent that runs."""
    init, login, *rest, show, diff = played("configure it")
    file = sandbox.folder / ".config" / "poolhand" / "agent.toml"
    assert sandbox.play(init).stdout == f"wrote {file}\n"
    ended = sandbox.play(login, "not-a-real-token")
    assert ended.returncode == 0, ended.stderr
    assert file.with_name("token").stat().st_mode & 0o777 == 0o600
    for command in rest:
        assert sandbox.play(command).returncode == 0
    assert "\nmax_model_slots = 2 " in file.read_text()
    assert f"# {file}:" in sandbox.play(show).stdout
    assert sandbox.play(diff).returncode == 1, "nobody runs"
    sandbox.start("poolhand run", "Dial")
    assert sandbox.play(diff).stdout == "the running agent does what the files say\n"
    assert sandbox.end("poolhand run") == 0


def test_link_it(sandbox: Sandbox) -> None:
    (link,) = played("link it")
    (sandbox.folder / "bin").mkdir()
    sandbox.swaps["/usr/local/bin/"] = f"{sandbox.folder}/bin/"
    assert sandbox.play(link).returncode == 0
    assert (sandbox.folder / "bin" / "poolhand").readlink() == Path("/opt/poolhand/bin/poolhand")


def curl(sandbox: Sandbox, command: str) -> object:
    """What curl would get; it is not on every machine."""
    program, silent, *rest = sandbox.words(command)
    assert (program, silent) == ("curl", "-s")
    body = rest[1].encode() if rest[0] == "-d" else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(rest[-1], body), timeout=10) as answer:  # noqa: S310  # loopback
        return json.loads(answer.read())


def test_the_dev_world(sandbox: Sandbox) -> None:
    """By hand, as the page tells it, up to a model that is on its way."""
    model, store, coordinator, copy, run, *asks = played("the dev world")
    dev = sandbox.folder / "dev"
    sandbox.swaps["/tmp/dev"] = str(dev)  # noqa: S108  # replaced, not used
    assert sandbox.play(model).returncode == 0
    assert (dev / "models" / "tiny-a" / "config.json").is_file()
    assert sandbox.play(copy).returncode == 0

    ports: dict[str, str] = {}
    for command, usual in ((store, "9000"), (coordinator, "8080")):
        sandbox.swaps[usual] = "0"
        (ports[usual],) = re.findall(r"127\.0\.0\.1:(\d+)", sandbox.start(command, "ready on"))
        del sandbox.swaps[usual]
    sandbox.swaps |= {f":{usual}": f":{port}" for usual, port in ports.items()}
    text = (dev / "agent.toml").read_text()
    for old, new in sandbox.swaps.items():
        text = text.replace(old, new)
    (dev / "agent.toml").write_text(text)

    sandbox.start(run, "LinkOpened")
    state, load_it, faults, stats = asks
    until(lambda: "org/tiny-a" in json.dumps(curl(sandbox, state)))
    sent = curl(sandbox, load_it)
    assert isinstance(sent, dict)
    assert sent["status"] == "sent"
    assert curl(sandbox, faults) is not None
    assert curl(sandbox, stats)
    until(lambda: '"started"' in json.dumps(curl(sandbox, state)))
    assert [sandbox.end(command) for command in (run, coordinator, store)] == [0, 0, 0]


# ── the files that are shown ──────────────────────────────────────────────────────────


def test_the_file_that_is_shown_loads_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(toml_of(README))
    settings = load(file, {}).settings
    assert settings.coordinator.socket_url == COORDINATOR
    assert settings.coordinator.token_file == str(tmp_path / "token")
    assert [entry.id for entry in settings.models] == ["org/tiny-a"]
    assert settings.slots.max_model_slots == 1


@pytest.mark.parametrize("page", ["endpoints.md", "private-coordinator.md"])
def test_the_parts_that_the_how_tos_show_load(page: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^```toml\n(.*?)^```", text)
    assert blocks
    for at, block in enumerate(blocks):
        file = tmp_path / f"{at}.toml"
        first = "" if "[coordinator]" in block else f'[coordinator]\nurl = "{COORDINATOR}"\n'
        file.write_text(first + block)
        assert load(file, {}).settings.coordinator.socket_url == COORDINATOR


def test_the_first_file_loads_as_it_is() -> None:
    file = ROOT / "tests" / "data" / "first.toml"
    settings = load(file, {}).settings
    assert settings.coordinator.url == "ws://127.0.0.1:8080/ws/provider"
    assert settings.coordinator.heartbeat_interval_s == 5
    assert settings.wire.backend_label == "poolhand"
    assert (settings.pools.assigned, settings.pools.allowed) == ("tiny", ("tiny", "org/*"))
    (entry,) = settings.models
    assert (entry.id, entry.aliases, entry.ref) == ("org/tiny-a", ("tiny",), "s3://models/tiny-a")
    assert settings.stores.s3.endpoint == "http://127.0.0.1:9000"
    assert (settings.stores.s3.region, settings.stores.s3.addressing) == ("us-east-1", "path")
    assert settings.cache.dir == str(file.parent / "cache")


def test_the_readme_says_the_exit_code_of_a_bad_file(tmp_path: Path, sandbox: Sandbox) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(toml_of(README).replace("max_model_slots", "max_model_slot"))
    ended = sandbox.play(f"poolhand run --config {file}")
    (code,) = re.findall(r"exit code (\d+)", README.partition("suggestion")[2])[:1]
    assert ended.returncode == int(code)
    assert "did you mean max_model_slots?" in ended.stderr
    line = file.read_text().splitlines().index("max_model_slot = 1") + 1
    assert f"{file}:{line}:" in ended.stderr
