"""A stand-in for the daemon's control socket, and the command as a real process."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer

import pytest

from poolhand.agent.cli.main import main
from poolhand.config.paths import control_socket

Cli = Callable[..., subprocess.CompletedProcess[str]]
Daemon = Callable[[Mapping[str, object]], Path]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run ``poolhand`` with a home of its own and nothing of ours in the environment."""

    def run(*args: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        clean = {name: text for name, text in os.environ.items() if "POOLHAND" not in name}
        clean = {name: text for name, text in clean.items() if not name.startswith("XDG_")}
        return subprocess.run(  # noqa: S603  # our own command
            [sys.executable, "-m", "poolhand.agent", *map(str, args)],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env=clean | {"HOME": str(tmp_path)} | environ,
        )

    return run


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The same in this process, which is quicker; ``argv`` is what it was called with."""
    for name in os.environ:
        if "POOLHAND" in name:
            monkeypatch.delenv(name)

    def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
        words = [str(arg) for arg in args]
        try:
            code = main(words)
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    return run


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Serve these JSON values by path on a state folder's control socket."""
    servers: list[tuple[UnixStreamServer, threading.Thread]] = []

    def started(answers: Mapping[str, object]) -> Path:
        class Answerer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = self.rfile.read(int(self.headers["Content-Length"]))
                with (state / "orders").open("a") as orders:
                    orders.write(f"{self.path} {said.decode()}\n")
                self.do_GET()

            def do_GET(self) -> None:
                body = answers.get(self.path)
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
                pass

        state = tmp_path / "state"
        state.mkdir()
        server = UnixStreamServer(str(control_socket(state)), Answerer)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return state

    yield started
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join(10)
