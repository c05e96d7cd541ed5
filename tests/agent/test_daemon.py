"""The agent as a process, against a coordinator that a test writes line by line."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from websockets.asyncio.server import ServerConnection, serve

from poolhand.agent.core.session import GAP_S
from poolhand.agent.daemon import LOOK_S, Daemon, clock_s
from poolhand.config.load import load

pytestmark = pytest.mark.e2e


class Scripted:
    """A coordinator that takes notes."""

    def __init__(self) -> None:
        self.lines: list[list[tuple[float, dict[str, Any]]]] = []
        self.codes: list[int | None] = []
        self._news = asyncio.Event()
        self._line: ServerConnection | None = None

    async def talk(self, connection: ServerConnection) -> None:
        frames: list[tuple[float, dict[str, Any]]] = []
        self.lines.append(frames)
        self._line = connection
        async for frame in connection:
            frames.append((time.monotonic(), cast("dict[str, Any]", json.loads(frame))))
            self._news.set()
        self.codes.append(connection.close_code)
        self._news.set()

    async def say(self, **message: object) -> None:
        assert self._line is not None
        await self._line.send(json.dumps(message))

    def heard(self, kind: str) -> list[dict[str, Any]]:
        return [said for line in self.lines for _, said in line if said["type"] == kind]

    async def hear(self, kind: str, nth: int = 1, within_s: float = 20.0) -> dict[str, Any]:
        async with asyncio.timeout(within_s):
            while len(self.heard(kind)) < nth:
                self._news.clear()
                await self._news.wait()
        return self.heard(kind)[nth - 1]


def write_config(folder: Path, port: int, *, more: str = "") -> Path:
    path = folder / "agent.toml"
    path.write_text(
        f'[coordinator]\nurl = "ws://127.0.0.1:{port}/ws/provider"\nheartbeat_interval_s = 0.2\n'
        f'[cache]\ndir = "cache"\n{more}'
    )
    return path


async def started(config: Path, state: Path, **environ: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "poolhand.agent", "run"),
        *("--config", str(config), "--state-dir", str(state)),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environ,
    )


@asynccontextmanager
async def world(
    folder: Path, more: str = ""
) -> AsyncGenerator[tuple[Scripted, asyncio.subprocess.Process]]:
    scripted = Scripted()
    async with serve(scripted.talk, "127.0.0.1", 0, max_size=None, close_timeout=0.5) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        agent = await started(write_config(folder, port, more=more), folder / "state")
        try:
            yield scripted, agent
        finally:
            if agent.returncode is None:
                agent.kill()
            await agent.communicate()


async def test_it_registers_first_beats_and_leaves_when_asked(tmp_path: Path) -> None:
    async with world(tmp_path) as (coordinator, agent):
        await coordinator.hear("heartbeat", 4)
        await coordinator.say(type="attestation_challenge", nonce="n", timestamp="t")
        assert (await coordinator.hear("attestation_response"))["nonce"] == "n"
        first = [said["type"] for _, said in coordinator.lines[0][:2]]
        assert first == ["register", "heartbeat"]
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
        agent.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await agent.wait() == 0
    assert coordinator.codes == [1000]
    assert not (tmp_path / "state" / "control.sock").exists()
    assert len(coordinator.heard("register")) == 1


async def test_a_load_that_takes_its_time_does_not_hold_up_the_heartbeat(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")  # reading it blocks whoever tries
    ref = (tmp_path / "never").as_uri()
    more = f'[[models]]\nid = "m"\nengine = "echo"\nref = "{ref}"\n'
    async with world(tmp_path, more) as (coordinator, agent):
        await coordinator.hear("register")
        await coordinator.say(type="load_model", model_id="m")
        await coordinator.hear("load_model_status")
        seen = len(coordinator.heard("heartbeat"))
        await coordinator.hear("heartbeat", seen + 6)
        beats_s = [at_s for at_s, said in coordinator.lines[0] if said["type"] == "heartbeat"]
        gaps_s = [b - a for a, b in zip(beats_s[seen:], beats_s[seen + 1 :], strict=False)]
        assert max(gaps_s) < 1.0
        agent.send_signal(signal.SIGINT)
        async with asyncio.timeout(15):
            assert await agent.wait() == 0


async def test_a_hang_up_ends_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as (coordinator, agent):
        await coordinator.hear("heartbeat")
        agent.send_signal(signal.SIGHUP)
        await coordinator.hear("heartbeat", len(coordinator.heard("heartbeat")) + 3)
        assert agent.returncode is None
    assert len(coordinator.lines) == 1


async def test_a_second_signal_is_a_wish_to_hurry(tmp_path: Path) -> None:
    async with world(tmp_path) as (coordinator, agent):
        await coordinator.hear("register")
        agent.send_signal(signal.SIGTERM)
        agent.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            assert await agent.wait() == 0


async def test_a_process_that_was_suspended_dials_anew_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as (coordinator, agent):
        await coordinator.hear("heartbeat", 2)
        agent.send_signal(signal.SIGSTOP)
        await asyncio.sleep(GAP_S + 0.5)
        agent.send_signal(signal.SIGCONT)
        await coordinator.hear("register", 2, within_s=LOOK_S + 1)
    assert len(coordinator.lines) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [("[coordinator]\nurl = 7\n", b"agent.toml:2"), ("[", b"agent.toml"), ("", b"coordinator")],
)
async def test_a_config_that_does_not_hold_ends_with_78(
    tmp_path: Path, text: str, words: bytes
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(text)
    agent = await started(config, tmp_path / "state")
    _, err = await agent.communicate()
    assert agent.returncode == 78
    assert words in err
    assert b"Traceback" not in err


async def test_a_second_agent_with_the_same_state_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as (coordinator, agent):
        await coordinator.hear("register")
        second = await started(tmp_path / "agent.toml", tmp_path / "state")
        _, err = await second.communicate()
        assert second.returncode == 78
        assert b"another agent runs with this state folder" in err
        assert agent.returncode is None
        assert len(coordinator.lines) == 1


async def test_a_state_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    agent = await started(write_config(tmp_path, 1), tmp_path / "state")
    _, err = await agent.communicate()
    assert agent.returncode == 78
    assert b"chmod 700" in err
    # the configuration is not to blame, so nobody is sent there
    assert b"--state-dir" in err
    assert b"--config" not in err


async def test_a_socket_that_cannot_be_made_is_a_sentence_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "control.sock").mkdir()
    agent = await started(write_config(tmp_path, 1), tmp_path / "state")
    _, err = await agent.communicate()
    assert agent.returncode == 78
    assert b"control.sock" in err
    assert b"Traceback" not in err


async def test_what_nobody_expected_ends_the_process_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    daemon = Daemon(load(write_config(tmp_path, 1), {}), tmp_path / "state")
    daemon.tell(cast("Any", object()))  # no event at all
    with pytest.raises((ExceptionGroup, TypeError)):
        await daemon.run()
    assert not (tmp_path / "state" / "control.sock").exists()


def test_the_clock_goes_on_while_the_machine_sleeps() -> None:
    # nobody can put a test's machine to sleep: on Linux the clock is the one that counts it
    if sys.platform == "linux":
        assert abs(clock_s() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 0.1
    before = clock_s()
    assert clock_s() >= before


async def asked(port: int, path: str, *, key: str = "") -> int:
    """What the port answers; 0 if nobody listens there."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return 0
    bearer = f"Authorization: Bearer {key}\r\n" if key else ""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n{bearer}\r\n".encode())
    raw = await reader.read()
    writer.close()
    return int(raw.split()[1])


async def test_no_port_unless_asked_for_and_then_only_with_its_key(tmp_path: Path) -> None:
    async with world(tmp_path) as (coordinator, agent):
        await coordinator.hear("register")
        open_ones = psutil.Process(agent.pid).net_connections("inet")
        assert [each for each in open_ones if each.status == psutil.CONN_LISTEN] == []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with world(tmp_path, f"[control]\nport = {port}\n") as (coordinator, agent):
        await coordinator.hear("register")
        key = (tmp_path / "state" / "control.key").read_text().strip()
        assert await asked(port, "/healthz") == 401
        assert await asked(port, "/healthz", key="x" * 40) == 401
        assert await asked(port, "/healthz", key=key) == 200
        assert await asked(port, "/metrics", key=key) == 200
        assert await asked(port, "/readyz", key=key) == 503, "alive, and not ready"
