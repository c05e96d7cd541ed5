"""The dev coordinator as a process, and what it does to sockets that misbehave."""

import argparse
import asyncio
import contextlib
import json
import logging
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from poolhand.agent.dev.coordinator import (
    CoordinatorOptions,
    NotLoopback,
    Running,
    add_arguments,
    main,
    serve,
)
from poolhand.agent.dev.registry import Alias

KEY = "B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw="
REGISTER = json.dumps(
    {
        "type": "register",
        "models": [{"id": "org/a", "size_bytes": 2_000_000_000}],
        "public_key": KEY,
        "encrypted_response_chunks": True,
    }
)
OPTIONS = CoordinatorOptions(port=0)


@contextmanager
def process(*arguments: str) -> Generator[tuple["subprocess.Popen[str]", str]]:
    """A coordinator of its own, and where it listens."""
    command = [sys.executable, "-m", "poolhand.agent.dev.coordinator", *arguments]
    with subprocess.Popen(  # noqa: S603 - our own words
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            first = child.stdout.readline()
            found = re.match(r"coordinator ready on (http://127\.0\.0\.1:\d+)\b", first)
            assert found is not None
            assert "development" in first
            yield child, found[1]
        finally:
            child.kill()


def line_to(running: Running | str) -> connect:
    url = running if isinstance(running, str) else running.ws_url
    return connect(url, compression=None, proxy=None)


async def end_of(line: ClientConnection) -> int | None:
    """The close code, once whatever comes before it is read."""
    try:
        async with asyncio.timeout(10):
            while True:
                await line.recv()
    except ConnectionClosed:
        return line.close_code


async def state(running: Running) -> dict[str, Any]:
    async with aiohttp.ClientSession(running.url) as http, http.get("/dev/state") as answer:
        return await answer.json()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_closes_sockets_with_1001_and_ends_with_0(number: signal.Signals) -> None:
    with process("--port", "0") as (child, url):
        async with line_to(f"ws{url[4:]}/ws/provider") as line:
            await line.send(REGISTER)
            child.send_signal(number)
            assert await end_of(line) == 1001
        assert await asyncio.to_thread(child.wait, 10) == 0


async def test_the_port_is_free_again_right_after_a_kill() -> None:
    with process("--port", "0") as (child, url):
        async with line_to(f"ws{url[4:]}/ws/provider") as line:
            child.kill()
            assert await end_of(line) == 1006
    with process("--port", url.rsplit(":")[-1]) as (_, again):
        assert again == url


async def test_aliases_are_told_to_whom_they_concern() -> None:
    aliases = ("--alias", "tiny=org/a", "--alias", "other=org/else")
    with process("--port", "0", *aliases) as (_, url):
        async with line_to(f"ws{url[4:]}/ws/provider") as line:
            await line.send(REGISTER)
            told = [json.loads(await line.recv()) for _ in range(2)]
            assert [each["type"] for each in told] == ["desired_models", "attestation_challenge"]
            assert told[0]["models"] == [{"model_name": "tiny", "desired_build": "org/a"}]


def test_an_address_that_others_reach_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert main(parser.parse_args(["--host", "0.0.0.0", "--port", "0"])) == 2  # noqa: S104 - refused
    assert "loopback only" in capsys.readouterr().err


async def test_serve_refuses_it_too() -> None:
    with pytest.raises(NotLoopback):
        async with serve(replace(OPTIONS, host="::")):
            pass


async def test_a_frame_of_more_than_ten_mebibytes_closes_with_1009() -> None:
    async with serve(OPTIONS) as running, line_to(running) as line:
        with contextlib.suppress(ConnectionClosed):  # it may close before all of it is sent
            await line.send(" " * OPTIONS.max_frame_bytes + "{}")
        assert await end_of(line) == 1009


async def test_six_unanswered_challenges_close_with_1008() -> None:
    options = replace(OPTIONS, challenge_interval_s=0.0, challenge_timeout_s=0.01)
    async with serve(options) as running:
        async with line_to(running) as line:
            await line.send(REGISTER)
            assert await end_of(line) == 1008
        verdicts = [each.verdict for each in running.registry.gone[0].challenges]
        assert verdicts == ["timeout"] * 6


async def test_silence_is_evicted_without_a_close_frame() -> None:
    options = replace(OPTIONS, stale_s=0.0, sweep_s=0.01)
    async with serve(options) as running, line_to(running) as line:
        await line.send(REGISTER)
        assert await end_of(line) == 1006


async def test_a_load_on_a_line_that_is_lost_is_told_as_lost() -> None:
    async with (
        serve(OPTIONS) as running,
        line_to(running) as line,
        aiohttp.ClientSession(running.url) as http,
        asyncio.TaskGroup() as group,
    ):
        await line.send(REGISTER)
        await (await line.ping())
        asking = group.create_task(http.post("/dev/load", json={"model_id": "org/a"}))
        while json.loads(await line.recv())["type"] != "load_model":
            pass
        await line.close()
        answer = await asking
        assert (answer.status, (await answer.json())["status"]) == (504, "lost")


async def test_a_load_that_nobody_waits_for_is_only_sent() -> None:
    async with (
        serve(OPTIONS) as running,
        line_to(running) as line,
        aiohttp.ClientSession(running.url) as http,
    ):
        await line.send(REGISTER)
        await (await line.ping())
        (provider,) = running.registry.providers
        where = f"/dev/load?wait=0&provider={provider}"
        async with http.post(where, json={"model_id": "org/x"}) as answer:
            assert (await answer.json())["status"] == "sent"
        async with http.post("/dev/drop?provider=nobody") as answer:
            assert await answer.json() == {"providers": []}


async def test_a_chunk_that_nobody_waits_for_is_answered_by_one_cancel() -> None:
    async with serve(OPTIONS) as running, line_to(running) as line:
        await line.send(REGISTER)
        stray = {"type": "inference_response_chunk", "request_id": "r"}
        for _ in range(3):
            await line.send(json.dumps(stray))
        told = [json.loads(await line.recv()) for _ in range(2)]
        assert {each["type"] for each in told} == {"attestation_challenge", "cancel"}
        await (await line.ping())
        assert (await state(running))["providers"][0]["stray_frames"] == 3


async def test_no_log_line_bears_what_a_frame_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="poolhand.dev.coordinator")
    async with serve(OPTIONS) as running, line_to(running) as line:
        await line.send(REGISTER)
        for frame in (
            {"type": "heartbeat", "status": ["xyzzy"]},
            {"type": "xyzzy"},
            {"type": "attestation_response", "nonce": "xyzzy"},
            {"type": "load_model_status", "model_id": "m", "status": "failed", "error": "xyzzy"},
            {"type": "inference_error", "request_id": "xyzzy", "error": "xyzzy"},
        ):
            await line.send(json.dumps(frame))
        await (await line.ping())
        assert running.registry.providers
    assert len(caplog.records) >= 5
    assert "xyzzy" not in caplog.text


async def test_a_socket_that_is_lost_is_remembered_with_its_code() -> None:
    aliases = (Alias("tiny", "org/a"),)
    async with serve(replace(OPTIONS, aliases=aliases, sends_desired=True)) as running:
        async with line_to(running) as line:
            await line.send(REGISTER)
            await (await line.ping())
            (first,) = running.registry.providers
        async with line_to(running) as line:
            await line.send(REGISTER)
            await (await line.ping())
            seen = await state(running)
            assert [each["id"] for each in seen["gone"]] == [first]
            assert seen["gone"][0]["ended"] == "closed 1000"
            assert seen["providers"][0]["id"] != first
