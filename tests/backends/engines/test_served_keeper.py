"""The keeper by itself: a real process between this test and a small server."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

KEEPER = "poolhand.backends.engines.served_keeper"
PATIENCE_S = 20


@dataclass
class Kept:
    """A keeper, and the line to it."""

    process: "subprocess.Popen[str]"
    line: socket.socket
    folder: Path
    rest: bytes = b""
    server: int = field(default=0)

    def said(self) -> Mapping[str, int]:
        """Its next line."""
        while b"\n" not in self.rest:
            data = self.line.recv(4096)
            assert data, "the keeper has hung up"
            self.rest += data
        first, _, self.rest = self.rest.partition(b"\n")
        return json.loads(first)

    def ask(self, message: Mapping[str, object]) -> None:
        self.line.sendall(json.dumps(message).encode() + b"\n")

    def log(self) -> str:
        """All that it and its server wrote, once both are gone."""
        _, text = self.process.communicate(timeout=PATIENCE_S)
        return text


@contextmanager
def keeping(code: str, **environment: str) -> Generator[Kept]:
    """A keeper whose server runs this code."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE_S)
    command = [sys.executable, "-P", "-m", KEEPER, str(theirs.fileno()), "0"]
    with subprocess.Popen(  # noqa: S603 - our own program
        command,
        pass_fds=(theirs.fileno(),),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as process:
        theirs.close()
        folder = Path(tempfile.mkdtemp())
        (folder / "s.sock").touch()
        kept = Kept(process, ours, folder)
        try:
            argv = [sys.executable, "-c", code]
            kept.ask({"argv": argv, "environment": environment, "folder": str(folder)})
            kept.server = kept.said()["pid"]
            yield kept
        finally:
            ours.close()
            process.kill()
            shutil.rmtree(folder, ignore_errors=True)


def until_gone(pid: int) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < give_up_s
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("import os; os.kill(os.getpid(), 11)", -signal.SIGSEGV),
    ],
)
def test_it_ends_as_the_server_did_and_says_so_first(code: str, exit_code: int) -> None:
    with keeping(code) as kept:
        assert kept.said() == {"ended": exit_code}
        assert kept.process.wait(PATIENCE_S) == exit_code


def test_the_server_has_the_environment_it_was_given_and_both_outputs_are_kept() -> None:
    code = (
        "import os, sys; print(sorted(os.environ)); sys.stdout.flush();"
        "print(os.environ['KEY'], file=sys.stderr)"
    )
    with keeping(code, KEY="k1", LC_CTYPE="C.UTF-8") as kept:
        assert kept.said() == {"ended": 0}
        assert kept.log() == "['KEY', 'LC_CTYPE']\nk1\n"


def test_what_cannot_be_run_is_named() -> None:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-P", "-m", KEEPER, str(theirs.fileno()), "0"]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, pass_fds=(theirs.fileno(),), stderr=subprocess.PIPE, text=True
    ) as process:
        theirs.close()
        ours.sendall(b'{"argv": ["/no/such/server"], "environment": {}, "folder": "/no/such"}\n')
        _, log = process.communicate(timeout=PATIENCE_S)
    ours.close()
    assert process.returncode == 127
    assert log == "cannot run /no/such/server: No such file or directory\n"


READY = "import signal, sys, time; {}; print('ready', flush=True); time.sleep(60)"
POLITE = READY.format("signal.signal(15, lambda *_: sys.exit(3))")
DEAF = READY.format("signal.signal(15, signal.SIG_IGN)")


def until_ready(kept: Kept) -> None:
    assert kept.process.stderr is not None
    assert kept.process.stderr.readline() == "ready\n"


def test_a_server_that_is_asked_may_leave_in_its_own_way() -> None:
    with keeping(POLITE) as kept:
        until_ready(kept)
        kept.ask({"stop": 20})
        assert kept.said() == {"ended": 3}
        assert kept.process.wait(PATIENCE_S) == 3


def test_a_server_that_has_hardly_begun_hears_that_it_is_to_leave() -> None:
    for _ in range(3):
        with keeping("import time; time.sleep(60)") as kept:
            kept.ask({"stop": 20})
            assert kept.said() == {"ended": -signal.SIGTERM}


def test_one_that_will_not_is_killed_when_its_time_is_over() -> None:
    with keeping(DEAF) as kept:
        until_ready(kept)
        kept.ask({"stop": 0.1})
        assert kept.said() == {"ended": -signal.SIGKILL}
        until_gone(kept.server)


def test_a_signal_to_the_keeper_is_not_for_it() -> None:
    with keeping(POLITE) as kept:
        until_ready(kept)
        kept.process.terminate()
        kept.ask({"stop": 20})
        assert kept.said() == {"ended": 3}


def test_when_the_agent_is_gone_the_server_goes_too() -> None:
    with keeping(POLITE) as kept:
        until_ready(kept)
        kept.line.close()
        until_gone(kept.server)
        assert kept.process.wait(PATIENCE_S) == 3
        assert not kept.folder.exists(), "nobody else would remove it"


@pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that tells a child of this")
def test_when_the_keeper_is_killed_the_server_goes_too() -> None:
    with keeping(DEAF) as kept:
        until_ready(kept)
        kept.process.kill()
        until_gone(kept.server)


def test_an_agent_that_is_gone_before_it_said_anything_is_no_fault() -> None:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-P", "-m", KEEPER, str(theirs.fileno()), "0"]
    with subprocess.Popen(command, pass_fds=(theirs.fileno(),)) as process:  # noqa: S603 - as above
        theirs.close()
        ours.close()
        assert process.wait(PATIENCE_S) == 0
