"""The client against real sockets: an answer, nobody, silence, and noise."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from poolhand.agent.control.client import AgentNotRunning, get

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Serve = Callable[[bytes], Path]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Answer one question with these bytes; keep the line open if there are none."""
    threads: list[threading.Thread] = []
    asked = threading.Event()

    def started(answer: bytes) -> Path:
        path = tmp_path / "s"
        door = socket.socket(socket.AF_UNIX)
        door.bind(str(path))
        door.listen()

        def run() -> None:
            with closing(door), closing(door.accept()[0]) as line:
                question = line.recv(4096)
                (tmp_path / "question").write_bytes(question)
                if answer:
                    line.sendall(answer)
                else:
                    asked.wait(30)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return path

    yield started
    asked.set()
    for thread in threads:
        thread.join(30)


def test_an_answer(serve: Serve, tmp_path: Path) -> None:
    assert get(serve(ANSWER), "/v1/status", 5.0) == (200, b"{}")
    question = (tmp_path / "question").read_bytes()
    assert question.startswith(b"GET /v1/status HTTP/1.0\r\nHost: localhost\r\n")


def test_any_status_is_an_answer(serve: Serve) -> None:
    answer = ANSWER.replace(b"200 OK", b"503 No")
    assert get(serve(answer), "/v1/models", 5.0) == (503, b"{}")


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(AgentNotRunning) as caught:
        get(tmp_path / "none", "/", 5.0)
    assert str(caught.value) == (
        f"agent is not running (no answer at {tmp_path}/none: No such file or directory)"
    )
    assert caught.value.code == "agent_not_running"


def test_a_socket_that_was_left_behind(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "s"))
    with pytest.raises(AgentNotRunning, match="Connection refused"):
        get(tmp_path / "s", "/", 5.0)


def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    with pytest.raises(AgentNotRunning, match="too long"):
        get(tmp_path / ("s" * 200), "/", 5.0)


def test_an_agent_that_hangs(serve: Serve) -> None:
    with pytest.raises(AgentNotRunning, match=r"nothing within 0.1 s"):
        get(serve(b""), "/", 0.1)


@pytest.mark.parametrize(
    "noise", [b"\x00\x01\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"]
)
def test_what_is_no_whole_answer(serve: Serve, noise: bytes) -> None:
    path = serve(noise)
    if noise.startswith(b"HTTP"):
        assert get(path, "/", 5.0) == (200, b"{}"), "cut short: the reader of the JSON says so"
    else:
        with pytest.raises(AgentNotRunning, match="no HTTP"):
            get(path, "/", 5.0)
