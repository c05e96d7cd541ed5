"""The process that answers peers, as the agent runs it."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from poolhand.agent.core.events import CacheSurveyed, Due, Event
from poolhand.agent.runtime.peer_port import PeerPort
from poolhand.backends.stores.base import Damage, Survey
from poolhand.config.peers import Peers

SURVEY = Survey(used_bytes=0, pending_bytes=0, free_bytes=0, reserve_bytes=0, quota_bytes=None)


def table(tmp_path: Path, *, key: str = "k" * 40) -> Peers:
    path = tmp_path / "peers.key"
    _ = path.write_text(key)
    path.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as found:
        listen = f"127.0.0.1:{found.getsockname()[1]}"
    return Peers(listen=listen, key_file=str(path))


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(40):
        while not is_so():  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.02)


class _Over(Exception):
    """The way to end a task group and everyone in it."""


async def test_it_runs_as_long_as_the_agent(tmp_path: Path) -> None:
    peers = table(tmp_path)
    assert peers.listen is not None
    port = int(peers.listen.rpartition(":")[2])
    with pytest.RaisesGroup(_Over):
        async with asyncio.TaskGroup() as tasks:
            shown = PeerPort(peers, tmp_path, tasks=tasks)
            assert shown.facts()["port"] is None
            await until(lambda: shown.facts()["port"] == port)
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            await until(lambda: shown.facts()["connections"] == 1)
            writer.close()
            raise _Over
    with pytest.raises(OSError, match=r"refused|Connect"):
        _ = await asyncio.open_connection("127.0.0.1", port)


async def test_a_key_that_cannot_be_used_is_in_the_status(tmp_path: Path) -> None:
    with pytest.RaisesGroup(_Over):
        async with asyncio.TaskGroup() as tasks:
            shown = PeerPort(table(tmp_path, key="short"), tmp_path, tasks=tasks)
            await until(lambda: shown.facts()["error"] is not None)
            error = shown.facts()["error"]
            assert isinstance(error, dict)
            assert error["code"] == "secret_unusable"
            assert "short" not in json.dumps(shown.facts()).replace("shorter", "")
            raise _Over


async def test_it_is_started_again_when_it_dies(tmp_path: Path) -> None:
    count = tmp_path / "count"
    program = f"import sys; sys.stdin.readline(); open({str(count)!r}, 'a').write('x')"
    command = (sys.executable, "-c", program)
    with pytest.RaisesGroup(_Over):
        async with asyncio.TaskGroup() as tasks:
            _ = PeerPort(table(tmp_path), tmp_path, tasks=tasks, command=command)
            await until(lambda: count.exists() and len(count.read_text()) >= 2)
            raise _Over


async def test_it_sees_no_credential(tmp_path: Path) -> None:
    """Not even those that a fetch has to have: it speaks to no store."""
    seen = tmp_path / "seen"
    program = f"import json, os; open({str(seen)!r}, 'w').write(json.dumps(dict(os.environ)))"
    names = "AWS_SECRET_ACCESS_KEY HF_TOKEN NGC_API_KEY BOTO_CONFIG POOLHAND_TOKEN"
    secrets = dict.fromkeys(names.split(), "hunter2")
    command = (sys.executable, "-c", program)
    with pytest.RaisesGroup(_Over):
        async with asyncio.TaskGroup() as tasks:
            environ = {**os.environ, **secrets}
            _ = PeerPort(table(tmp_path), tmp_path, tasks=tasks, environ=environ, command=command)
            await until(lambda: seen.exists() and seen.read_text().endswith("}"))
            raise _Over
    heard: dict[str, str] = json.loads(seen.read_text())
    assert not secrets.keys() & heard.keys()
    assert heard["PATH"] == os.environ["PATH"]


async def test_a_program_that_is_gone_for_now_ends_nobody(tmp_path: Path) -> None:
    """As while Python itself is replaced; it is tried again, and the status says why."""
    program = tmp_path / "program"
    with pytest.RaisesGroup(_Over):
        async with asyncio.TaskGroup() as tasks:
            shown = PeerPort(table(tmp_path), tmp_path, tasks=tasks, command=(str(program),))
            await until(lambda: shown.facts()["error"] is not None)
            error = shown.facts()["error"]
            assert isinstance(error, dict)
            assert str(program) in str(error["words"])
            _ = program.write_text("#!/bin/sh\necho '{\"port\": 5}'\nexec cat > /dev/null\n")
            program.chmod(0o700)
            await until(lambda: shown.facts()["port"] == 5)
            assert shown.facts()["error"] is None
            raise _Over


async def test_noise_ends_nobody_and_who_is_gone_has_no_peers(tmp_path: Path) -> None:
    """Whatever Python was told to print at its start, and a last word that was cut off."""
    said = '{"port": 5}', '{"served": {"connections": 3, "asks": 7}}', "[]"
    lines, leave = "\\n".join(("noise", *said, '{"serv')), tmp_path / "leave"
    program = (
        "import os, sys, time\n"
        "sys.stdin.readline()\n"
        f"print('{lines}', end='', flush=True)\n"
        f"while not os.path.exists({str(leave)!r}):\n"
        "    time.sleep(0.01)"
    )
    command = (sys.executable, "-c", program)
    with pytest.RaisesGroup(_Over):
        async with asyncio.TaskGroup() as tasks:
            shown = PeerPort(table(tmp_path), tmp_path, tasks=tasks, command=command)
            await until(lambda: shown.counts["connections"] == 3)
            leave.touch()
            await until(lambda: shown.facts()["port"] is None)
            assert shown.counts["connections"] == 0
            assert shown.counts["asks"] == 7
            raise _Over


async def test_what_is_damaged_or_read_through_is_kept_back(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    program = (
        "import sys\nfor line in sys.stdin:\n"
        f"    open({str(heard)!r}, 'a').write(line)\n"
        "    print('{\"port\": 5}', flush=True)"
    )
    command = (sys.executable, "-c", program)
    events: list[Event] = []
    with pytest.RaisesGroup(_Over):
        async with asyncio.TaskGroup() as tasks:
            shown = PeerPort(table(tmp_path), tmp_path, tasks=tasks, command=command)
            await until(lambda: shown.facts()["port"] == 5)
            tell = shown.overhear(events.append)
            tell(Due())
            damage = Damage("org/bad", ("m",), is_mending=False)
            survey = Survey(0, 0, 0, 0, None, scrubbing="org/read", damaged=(damage,))
            tell(CacheSurveyed(survey))
            tell(CacheSurveyed(None))
            assert shown.facts()["kept_back"] == ["org/bad", "org/read"]
            await until(lambda: '["org/bad", "org/read"]' in heard.read_text())
            tell(CacheSurveyed(SURVEY))
            assert shown.facts()["kept_back"] == []
            raise _Over
    assert len(events) == 4, "whoever is told hears all of it"
