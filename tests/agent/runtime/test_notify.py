"""The talk with systemd, heard at the other end of a real datagram socket."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.runtime.notify import LOOKS, WORDS_S, Notifier, notifier

START_S = 30.0


class Manager:
    """The service manager's end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.settimeout(START_S)

    def close(self) -> None:
        self._socket.close()

    def hear(self) -> dict[str, str]:
        """The next message."""
        lines = self._socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def hear_all(self) -> list[dict[str, str]]:
        """Everything that has come so far."""
        self._socket.settimeout(0)
        heard: list[dict[str, str]] = []
        while True:
            try:
                heard.append(self.hear())
            except BlockingIOError:
                self._socket.settimeout(START_S)
                return heard

    def hear_until(self, key: str, value: str = "") -> list[dict[str, str]]:
        """What comes, up to a message with that line."""
        heard = [self.hear()]
        while not heard[-1].get(key, "").startswith(value) or key not in heard[-1]:
            heard.append(self.hear())
        return heard


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with closing(Manager(str(tmp_path / "n"))) as heard:
        yield heard


def nothing() -> str:
    return ""


# ── one message ───────────────────────────────────────────────────────────────────────


def test_each_message_is_what_systemd_reads(manager: Manager) -> None:
    with closing(Notifier(manager.address)) as told:
        told.ready()
        assert manager.hear() == {"READY": "1"}
        before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        told.reloading()
        heard = manager.hear()
        assert heard["RELOADING"] == "1"
        assert before_us <= int(heard["MONOTONIC_USEC"])
        assert int(heard["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        told.stopping(140.5)
        assert manager.hear() == {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "140500000"}


@pytest.mark.skipif(sys.platform != "linux", reason="abstract addresses are Linux's")
def test_an_abstract_address_is_told_too() -> None:
    with closing(Manager(f"@poolhand-test-{os.getpid()}")) as manager:
        with closing(Notifier(manager.address)) as told:
            told.ready()
        assert manager.hear() == {"READY": "1"}


@pytest.mark.parametrize("address", ["", "/", "@", "relative", "vsock:2:1"])
def test_an_address_that_is_none_is_told_nothing(address: str) -> None:
    told = notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    told.ready()
    told.turn(0.0, is_moving=True, words=lambda: pytest.fail("nobody listens"))
    assert told.look_s == float("inf")


def test_a_manager_that_is_gone_harms_nothing(tmp_path: Path) -> None:
    told = Notifier(str(tmp_path / "gone"), 1.0)
    told.ready()
    told.stopping(1.0)
    told.close()


def test_what_found_nobody_is_owed_and_told_with_the_next(tmp_path: Path) -> None:
    told = Notifier(str(tmp_path / "n"))
    told.ready()
    with closing(Manager(str(tmp_path / "n"))) as manager:
        told.stopping(1.0)
        assert list(manager.hear()) == ["READY", "STOPPING", "EXTEND_TIMEOUT_USEC"]
        told.ready()
        assert manager.hear() == {"READY": "1"}
    told.close()


def test_a_full_socket_holds_nobody_up_and_loses_no_ready(manager: Manager) -> None:
    with closing(Notifier(manager.address)) as told:
        for at in range(2000):  # far more than a socket takes
            told.turn(float(at), is_moving=True, words=lambda at=at: f"at {at}")
        told.ready()
        manager.hear_all()
        told.ready()
        assert manager.hear()["READY"] == "1"


# ── a turn of the loop ────────────────────────────────────────────────────────────────


def test_signs_of_life_come_often_enough_and_stop_when_nothing_moves(manager: Manager) -> None:
    with closing(Notifier(manager.address, 30.0)) as told:
        for at in range(60):
            told.turn(float(at), is_moving=at < 40, words=nothing)
    fed = [one for one in manager.hear_all() if "WATCHDOG" in one]
    assert told.look_s == 30.0 / LOOKS
    assert len(fed) == 5, "at 0, 8, 16, 24 and 32 seconds"


def test_without_a_watchdog_nobody_is_fed(manager: Manager) -> None:
    with closing(Notifier(manager.address)) as told:
        told.turn(100.0, is_moving=True, words=lambda: "well")
    assert manager.hear_all() == [{"STATUS": "well"}]


def test_words_are_told_when_they_change_and_on_one_line(manager: Manager) -> None:
    with closing(Notifier(manager.address)) as told:
        for at, words in enumerate(["down", "down", "on\nREADY=1  line", "down"]):
            told.turn(at * WORDS_S, is_moving=True, words=lambda words=words: words)
        told.turn(3 * WORDS_S + 0.1, is_moving=True, words=lambda: pytest.fail("too soon"))
    said = [one["STATUS"] for one in manager.hear_all()]
    assert said == ["down", "on READY=1 line", "down"]


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=30))
def test_silence_is_never_as_long_as_the_limit_while_it_moves(
    turns: Sequence[tuple[float, bool]],
) -> None:
    """Turns that come as often as :attr:`look_s` asks for feed in time; others never feed."""
    address = f"@poolhand-law-{os.getpid()}" if sys.platform == "linux" else ""
    if not address:
        return
    with closing(Manager(address)) as manager, closing(Notifier(address, 10.0)) as told:
        now_s, fed_s = 0.0, float("-inf")
        for wait_s, is_moving in turns:
            now_s += min(wait_s, told.look_s)
            told.turn(now_s, is_moving=is_moving, words=nothing)
            is_fed = any("WATCHDOG" in one for one in manager.hear_all())
            assert is_moving or not is_fed
            fed_s = now_s if is_fed else fed_s
            assert not is_moving or now_s - fed_s < 10.0 / 2


# ── who is told ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("environ", "look_s"),
    [
        ({"WATCHDOG_USEC": "8000000"}, 2.0),
        ({"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": str(os.getpid())}, 2.0),
        ({"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1"}, float("inf")),
        ({"WATCHDOG_USEC": "0"}, float("inf")),
        ({"WATCHDOG_USEC": "-5"}, float("inf")),
        ({"WATCHDOG_USEC": "soon"}, float("inf")),
        ({}, float("inf")),
    ],
)
def test_the_watchdog_is_ours_or_nobody_s(environ: dict[str, str], look_s: float) -> None:
    assert notifier({"NOTIFY_SOCKET": "/n", **environ}).look_s == look_s


# ── the daemon ────────────────────────────────────────────────────────────────────────


@pytest.mark.e2e
async def test_a_real_agent_tells_its_whole_life(tmp_path: Path, manager: Manager) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('[coordinator]\nurl = "ws://127.0.0.1:1/ws/provider"\n')
    agent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "poolhand.agent", "run"),
        *("--config", str(config), "--state-dir", str(tmp_path / "state")),
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ
        | {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "800000"}
        | {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)},
    )
    try:
        hear = asyncio.to_thread
        assert (await hear(manager.hear)) == {"READY": "1"}
        told = await hear(manager.hear_until, "STATUS", "not serving: ")
        assert "ws://127.0.0.1:1" in told[-1]["STATUS"] or "line" in told[-1]["STATUS"]
        for _ in range(3):  # nothing happens, and it is alive
            await hear(manager.hear_until, "WATCHDOG", "1")

        agent.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC" in (await hear(manager.hear_until, "RELOADING"))[-1]
        await hear(manager.hear_until, "READY")
        config.write_text("[")
        agent.send_signal(signal.SIGHUP)
        await hear(manager.hear_until, "RELOADING")
        await hear(manager.hear_until, "READY")  # a bad file is no reason to look dead

        agent.send_signal(signal.SIGTERM)
        left = (await hear(manager.hear_until, "STOPPING"))[-1]
        assert int(left["EXTEND_TIMEOUT_USEC"]) > 120_000_000, "requests.drain_s"
        assert await asyncio.wait_for(agent.wait(), START_S) == 0
    finally:
        if agent.returncode is None:
            agent.kill()
            await agent.wait()
