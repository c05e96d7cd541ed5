"""Whose process a server is: one that is started here, and one that is left alone."""

import asyncio
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from poolhand.backends.engines.errors import EngineMissing, EngineStartFailed
from poolhand.backends.engines.profiles import Plan
from poolhand.backends.engines.profiles_llamacpp import LlamacppProfile
from poolhand.backends.engines.profiles_vllm import VllmProfile
from poolhand.backends.engines.served_origins import AttachedServer, OwnServer, emptied
from poolhand.config.engines import Attach
from poolhand.config.errors import SecretUnusable


class Ended:
    """Told once how a server ended."""

    def __init__(self) -> None:
        self.codes: list[int | None] = []
        self.is_told = asyncio.Event()

    def __call__(self, exit_code: int | None) -> None:
        self.codes.append(exit_code)
        self.is_told.set()

    async def once(self) -> int | None:
        async with asyncio.timeout(20):
            await self.is_told.wait()
        (code,) = self.codes
        return code


def own(folder: Path, code: str) -> OwnServer:
    """A server that is this code, whatever its arguments."""
    program = folder / "program"
    program.write_text(f"#!{sys.executable}\n{code}\n")
    program.chmod(0o700)
    return OwnServer(VllmProfile(), Plan((str(program),), str(folder)))


async def test_a_killed_group_is_waited_for_until_nobody_is_left() -> None:
    code = "import time; time.sleep(60)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, start_new_session=True
    )
    # a killed process that nobody has buried yet is still there
    assert await emptied(process.pid, patience_s=20)
    assert await process.wait() == -9
    assert await emptied(process.pid, patience_s=20), "and at once, where there is nobody"
    assert not await emptied(os.getpgid(0), patience_s=0), "without patience nobody is touched"


async def test_a_server_is_started_told_of_and_ended(tmp_path: Path) -> None:
    ended = Ended()
    server = own(tmp_path, "import time; time.sleep(60)")
    peer = await server.start(ended)
    assert peer.socket_path is not None
    folder = Path(peer.socket_path).parent
    assert folder.is_dir()
    async with asyncio.timeout(20):
        while server.pid is None:  # noqa: ASYNC110 - the keeper tells it by and by
            await asyncio.sleep(0.005)
    pid = server.pid
    assert psutil.Process(pid).ppid() == server.keeper_pid
    held = await asyncio.to_thread(server.memory_bytes)
    assert held is not None
    assert held > 0
    await server.stop(5)
    assert not psutil.pid_exists(pid)
    assert not folder.exists()
    assert await ended.once() == -15
    assert server.pid is None
    assert server.memory_bytes() is None


@pytest.mark.parametrize("flag", ["--trust-remote-code", "--mlock", "--seed=-x"])
async def test_no_server_is_started_with_a_flag_that_is_not_on_its_list(
    flag: str, tmp_path: Path
) -> None:
    profile = VllmProfile()
    plan = Plan((sys.executable,), str(tmp_path), flags=("--enforce-eager", flag))
    server = OwnServer(profile, plan)
    with pytest.raises(EngineStartFailed, match="--") as failed:
        await server.start(Ended())
    assert failed.value.kind == "bad_model"
    await server.stop(1)
    assert server.keeper_pid is None


async def test_an_end_is_told_once_with_the_last_words(tmp_path: Path) -> None:
    ended = Ended()
    server = own(tmp_path, "import sys; print('canary: failed to load model'); sys.exit(9)")
    await server.start(ended)
    assert await ended.once() == 9
    failed = server.failed(9)
    assert (failed.kind, failed.tail) == ("bad_model", "canary: failed to load model")
    assert "canary" not in str(failed) + failed.load_text
    await server.stop(5)
    assert ended.codes == [9]


async def test_last_words_are_read_before_the_end_that_came_together_with_them(
    tmp_path: Path,
) -> None:
    tails: list[str] = []
    is_told = asyncio.Event()

    def ended(_code: int | None) -> None:
        tails.append(server.log_tail)
        is_told.set()

    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nsleep 0.2\necho canary >&2\nexit 9\n")
    program.chmod(0o700)
    server = OwnServer(VllmProfile(), Plan((str(program),), str(tmp_path)))
    await server.start(ended)
    async with asyncio.timeout(20):
        while server.pid is None:  # noqa: ASYNC110 - in the very turn in which the keeper tells it
            await asyncio.sleep(0)
    time.sleep(1)  # noqa: ASYNC251 - words and end are both there when the loop looks next
    async with asyncio.timeout(20):
        await is_told.wait()
    assert tails == ["canary"]
    await server.stop(5)


async def test_a_folder_that_is_not_there_is_a_failed_start(tmp_path: Path) -> None:
    server = OwnServer(VllmProfile(), Plan(("/bin/true",), str(tmp_path / "none")))
    with pytest.raises(EngineStartFailed) as failed:
        await server.start(Ended())
    assert failed.value.kind == "exited"
    await server.stop(1)


async def test_a_build_that_is_none_for_it_is_a_bad_model(tmp_path: Path) -> None:
    server = OwnServer(LlamacppProfile(), Plan(("/bin/true",), str(tmp_path)))
    with pytest.raises(EngineStartFailed, match="one GGUF model") as failed:
        await server.start(Ended())
    assert failed.value.kind == "bad_model"
    await server.stop(1)


async def test_too_few_boards_for_a_model_are_told_before_anything_runs(tmp_path: Path) -> None:
    plan = Plan(("/bin/true",), str(tmp_path), gpus="98,99", tensor_parallel=3)
    server = OwnServer(VllmProfile(), plan)
    # with the library the boards are missing; without it the counts do not fit
    with pytest.raises((EngineMissing, EngineStartFailed), match="board"):
        await server.start(Ended())
    assert server.keeper_pid is None
    await server.stop(1)


async def test_a_server_that_runs_already_is_only_named(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret-of-mine\n")
    key.chmod(0o600)
    attach = Attach(url="http://127.0.0.1:4711", key_file=str(key))
    server = AttachedServer(attach)
    ended = Ended()
    peer = await server.start(ended)
    assert (peer.url, peer.socket_path) == ("http://127.0.0.1:4711", None)
    assert peer.headers == {"Authorization": "Bearer secret-of-mine"}
    assert "secret-of-mine" not in repr(peer)
    assert server.memory_bytes() is None
    await server.stop(5)
    assert ended.codes == []


async def test_it_may_listen_on_a_socket_and_want_no_key() -> None:
    peer = await AttachedServer(Attach(socket="/run/engine.sock")).start(Ended())
    assert (peer.socket_path, dict(peer.headers)) == ("/run/engine.sock", {})


@pytest.mark.parametrize("mode", [None, 0o644])
async def test_a_key_that_cannot_be_trusted_stops_it(mode: int | None, tmp_path: Path) -> None:
    key = tmp_path / "key"
    if mode is not None:
        key.write_text("k\n")
        key.chmod(mode)
    attach = Attach(url="http://127.0.0.1:1", key_file=str(key))
    with pytest.raises(SecretUnusable):
        await AttachedServer(attach).start(Ended())
