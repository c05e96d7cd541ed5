"""An engine elsewhere against a server that is none of ours: mlx_lm.server with the tiny model."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolhand.agent.dev.checkpoint import expected_text, make_model
from poolhand.backends.engines.base import Delta, Finished, Prompt
from poolhand.backends.engines.hosted import HostedEngine
from poolhand.backends.engines.hosted_days import Days
from poolhand.backends.engines.hosted_errors import ProviderUnreachable
from poolhand.config.external import External

pytestmark = pytest.mark.engine


@pytest.fixture
def server(tmp_path: Path, unused_tcp_port: int) -> Iterator[tuple[Path, int]]:
    folder = tmp_path / "nano"
    make_model(folder, preset="nano", name="nano")
    command = [sys.executable, "-m", "mlx_lm.server", "--model", str(folder)]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - a library that is installed for tests
            [*command, "--port", str(unused_tcp_port)],
            env={"HF_HUB_OFFLINE": "1", "MLX_DISABLE_COMPILE": "1", "PATH": "/usr/bin:/bin"},
            stdout=log,
            stderr=log,
        )
    yield folder, unused_tcp_port
    process.kill()
    process.wait(20)


async def test_a_server_of_somebody_else_says_what_its_checkpoint_says(
    server: tuple[Path, int],
) -> None:
    folder, port = server
    external = External(
        dialect="openai",
        base_url=f"http://127.0.0.1:{port}/v1",
        model=str(folder),
        allow_http_to_loopback=True,
    )

    def engine() -> HostedEngine:
        days = Days(folder / "day", model="m", external=external, clock_s=lambda: 0.0)
        return HostedEngine(model="m", external=external, days=days, key=lambda: None)

    made = engine()
    async with asyncio.timeout(50):
        while True:
            try:
                await made.start()
                break
            except ProviderUnreachable:
                await asyncio.sleep(0.1)  # its libraries take a while to come
        body = {"messages": [{"role": "user", "content": "hello"}], "temperature": 0}
        pieces = [piece async for piece in made.generate(Prompt("r", "chat", body, 200))]
    said = "".join(piece.text for piece in pieces if isinstance(piece, Delta))
    assert said == expected_text("nano")
    end = pieces[-1]
    assert isinstance(end, Finished)
    assert end.reason == "stop"
    assert end.usage.prompt_tokens > 0
    assert end.usage.completion_tokens > len(said.split())
    await made.stop()
