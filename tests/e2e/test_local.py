"""This machine's own programs at a real agent with a real engine, beside a coordinator's client."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from openai import DefaultHttpxClient, OpenAI
from world import A, World, begun, number, opened, text_of

from poolhand.agent.dev.stage import at
from poolhand.config.paths import control_socket

PAGE = Path(__file__).parents[2] / "docs" / "local-programs.md"

pytestmark = [pytest.mark.e2e, pytest.mark.engine]


@pytest.fixture
def local(tmp_path: Path, weights: Path, unused_tcp_port: int) -> Iterator[tuple[World, str]]:
    """An agent that holds org/tiny-a and answers local programs; and its port's address."""
    with opened(tmp_path / "w", weights) as made:
        made.join(
            made.configure(),
            POOLHAND_CONTROL__OPENAI_API="true",
            POOLHAND_CONTROL__PORT=str(unused_tcp_port),
        )
        assert made.load(A)["status"] == "succeeded"
        yield made, f"http://127.0.0.1:{unused_tcp_port}/v1"


def client(transport: httpx2.HTTPTransport | None, base: str, key: str) -> OpenAI:
    line = DefaultHttpxClient(transport=transport, trust_env=False)
    return OpenAI(base_url=base, api_key=key, max_retries=0, timeout=40, http_client=line)


def run_the_page_s_program(world: World, base: str) -> None:
    """What docs/local-programs.md shows, with this agent's places."""
    (program,) = re.findall(r"(?ms)^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"))
    places = {"/var/lib/poolhand": str(world.agent.state_dir), "http://127.0.0.1:9118/v1": base}
    for told, here in places.items():
        assert told in program
        program = program.replace(told, here)
    ended = subprocess.run(  # noqa: S603  # our own page
        [sys.executable, "-c", program],
        env=world.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert ended.returncode == 0, ended.stderr
    said, names = ended.stdout.rsplit("[", 1)
    assert said.startswith("Hello"), said
    assert f"'{A}'" in names


def test_an_owner_s_program_and_a_coordinator_s_client_are_answered_side_by_side(
    local: tuple[World, str],
) -> None:
    world, base = local
    socket = control_socket(world.agent.state_dir)
    key = (world.agent.state_dir / "control.key").read_text().strip()
    with (
        client(httpx2.HTTPTransport(uds=str(socket)), "http://localhost/v1", "x") as mine,
        client(None, base, key) as by_port,
    ):
        theirs, ours = world.stream("Hello!"), world.stream("Hello!", "tiny", client=mine)
        begun(theirs, 1)  # where all is slow a short answer comes in two pieces
        now = at(world.agent.status(), "requests")
        assert number(now, "local") + number(now, "local_served") == 1
        theirs.close()
        said = "".join(map(text_of, ours))
        assert said
        whole = by_port.chat.completions.create(
            model=A, messages=[{"role": "user", "content": "Hello!"}], max_tokens=5
        )
        assert whole.usage is not None
        assert whole.usage.completion_tokens <= 5
        assert {model.id for model in by_port.models.list()} >= {A, "tiny"}

        run_the_page_s_program(world, base)
        last = world.stream("Hello!", client=mine, most=400)
        begun(last)
        world.agent.process.send_signal(signal.SIGTERM)
        chunks = list(last)
        assert chunks[-2].choices[0].finish_reason in {"stop", "length"}, "a drain cuts nothing"
        assert chunks[-1].usage is not None
        assert world.agent.process.wait(20) == 0
    assert "Hello!" not in world.agent.log.read_text()
    assert key not in world.agent.log.read_text()
    assert at(world.requests(), -1) is not None
    assert len(world.requests()) == 1, "no coordinator hears of local requests"
