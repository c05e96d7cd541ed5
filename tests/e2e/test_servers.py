"""Engines that are servers, through the whole house: agent, coordinator, client, and kills."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import psutil
import pytest
from world import A, World, begun, text_of

from poolhand.agent.dev.checkpoint import expected_text
from poolhand.agent.dev.stage import at, each_of

pytestmark = pytest.mark.e2e

LEGAL = "org/tiny-a-legal"
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
STUB = Path(__file__).parents[1] / "contract" / "stub_server.py"


def with_server(world: World, kind: str = "vllm") -> Path:
    """A configuration whose models are served by a program that takes that kind's arguments."""
    program = world.folder / "server"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{STUB}" "$@"\n')
    program.chmod(0o700)
    config = world.configure()
    table = f'\n[engines]\ndefault = "{kind}"\n[engines.{kind}]\nprogram = "{program}"\n'
    config.write_text(config.read_text() + table)
    return config


def servers(world: World) -> list[psutil.Process]:
    return [one for one in world.children(world.agent) if str(STUB) in one.cmdline()]


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it went between the two questions
        return True


def is_listening(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_is_loaded_asked_killed_and_loaded_again(world: World) -> None:
    world.join(with_server(world))
    assert world.load(A)["status"] == "succeeded"
    assert world.answer(most=3) == "w0 w1 w2"
    (server,) = servers(world)
    assert not any(name.startswith(("AWS_", "POOLHAND_")) for name in server.environ())

    stream = world.stream("Hello!", most=4000)
    begun(stream)
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(openai.APIError):
        _ = list(stream)
    world.until(lambda: is_gone(server) or None, "the server is gone", 20)
    codes = [line.get("code") for line in world.log() if line["what"] == "GenerationEnded"]
    assert codes == [None, "engine_died"]

    assert world.load(A)["status"] == "succeeded"
    assert world.answer(most=2) == "w0 w1"
    (again,) = servers(world)
    assert again.pid != server.pid

    os.kill(world.agent.process.pid, signal.SIGKILL)
    needs = world.store
    world.until(lambda: is_gone(again) or None, "no server outlives its agent", 20, needs=needs)


def test_a_server_that_cannot_load_says_why_here_and_closed_words_there(world: World) -> None:
    config = with_server(world)
    program = world.folder / "server"
    program.write_text("#!/bin/sh\necho canary: CUDA out of memory >&2\nexit 1\n")
    world.join(config)
    told = world.load(A)
    assert told["status"] == "failed"
    assert "out of memory" in str(told)
    assert "canary" not in str(told)


def test_an_adapter_comes_with_its_model_and_answers_to_its_own_name(world: World) -> None:
    config = with_server(world)
    head, a, rest = config.read_text().partition('ref = "s3://models/tiny-a"\n')
    lines = f'[models.serving]\nadapters = ["{LEGAL}=s3://models/tiny-b"]\n'
    config.write_text(f"{head}{a}{lines}{rest}")
    world.join(config)
    assert LEGAL in each_of(world.provider(), "models")
    assert world.load(LEGAL)["status"] == "succeeded"
    assert world.answer(model=LEGAL, most=2) == "adapter-1:w0 adapter-1:w1"
    assert world.answer(model=A, most=2) == "w0 w1"
    named = {chunk.model for chunk in world.stream("Hello!", model=LEGAL, most=2)}
    assert named == {LEGAL}
    assert world.served_bytes("tiny-b") > 0
    beat = at(world.provider(), "heartbeat", "backend_capacity")
    assert [at(slot, "model") for slot in each_of(beat, "slots")] == [A, LEGAL]


def test_a_server_may_read_weights_from_their_store_itself(world: World) -> None:
    config = with_server(world)
    head, a, rest = config.read_text().partition('ref = "s3://models/tiny-a"\n')
    lines = 'engine = "vllm"\n[models.serving]\nload_format = "stream"\n'
    config.write_text(f"{head}{a}{lines}{rest}")
    world.join(config, **KEYS, AWS_REGION="x")
    assert world.load(A)["status"] == "succeeded"
    assert world.answer(most=2) == "w0 w1"
    assert world.served_bytes("tiny-a") == 0, "nothing came through the agent"
    (server,) = servers(world)
    told = server.environ()
    assert told["AWS_ENDPOINT_URL"] == told["RUNAI_STREAMER_S3_ENDPOINT"] == world.store.url
    assert told.items() >= {**KEYS, "AWS_REGION": "us-east-1"}.items()
    assert "s3://models/tiny-a" in server.cmdline()
    assert "secret" not in str(server.cmdline()) + world.agent.log.read_text()


@pytest.fixture
def attached(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """mlx_lm's own server, which runs already, and an agent that asks it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = int(bound.getsockname()[1])
    folder = world.weights / "models" / "tiny-a"
    command = ["-m", "mlx_lm.server", "--model", str(folder), "--port", str(port)]
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "MLX_DISABLE_COMPILE": "1"}
    server = subprocess.Popen(  # noqa: S603 - what is installed here
        [sys.executable, "-P", *command], env=quiet, stderr=subprocess.DEVNULL
    )
    config = world.configure()
    head = config.read_text().partition("[[models]]")[0]
    config.write_text(
        f'{head}[[models]]\nid = "{A}"\naliases = ["tiny"]\nengine = "attach"\n'
        f'[models.attach]\nurl = "http://127.0.0.1:{port}"\nmodel = "{folder}"\n'
    )
    world.until(lambda: is_listening(port) or None, "mlx_lm's server listens", 50)
    world.join(config)
    yield server
    server.kill()
    server.wait()


@pytest.mark.engine
def test_a_server_that_runs_already_answers_and_outlives_the_agent(
    world: World, attached: subprocess.Popen[bytes]
) -> None:
    assert world.load(A)["status"] == "succeeded"
    assert world.answer() == expected_text("alpha", "<|say|>")
    chunks = list(world.stream("[loop]", most=7))
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 7
    assert "".join(map(text_of, chunks))
    assert at(world.stay(A), "model") == A
    world.agent.process.terminate()
    world.agent.process.wait(30)
    assert attached.poll() is None
