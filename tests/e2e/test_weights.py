"""Weights that come all the way: over a kill, and from a store that somebody else made."""

import http.client
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer  # pyright: ignore[reportMissingTypeStubs]
from world import MIB, A, World, number, size_bytes

from poolhand.agent.dev.checkpoint import expected_text
from poolhand.agent.dev.stage import at

pytestmark = pytest.mark.e2e

ANYBODY = "AWS4-HMAC-SHA256 Credential=AKIDTEST/20260101/us-east-1/s3/aws4_request"
"""Whom moto takes us for when it is filled: it does not look further."""


def test_a_killed_agent_goes_on_where_it_was(world: World, weights: Path) -> None:
    config = world.configure(a="large")
    world.join(config)
    world.throttle(2_000_000)
    world.post("load?wait=0", {"model_id": A})
    whole = size_bytes(weights / "models" / "large")

    def done_bytes() -> float:
        found = at(world.stay(A), "bytes_done")
        return found if isinstance(found, int) else 0

    world.heard(lambda: done_bytes() > 0.4 * whole, "almost half of it is here", 30)
    children = world.children(world.agent)
    assert children
    world.agent.process.kill()
    world.agent.process.wait()
    del world.actors["agent"]
    world.heard(lambda: not world.has_orphans(), "no child outlives the agent")
    served = world.served_bytes("large")
    world.throttle(0)
    world.heard(lambda: not world.providers(), "the coordinator sees it gone")
    world.join(config)
    assert world.load(A)["status"] == "succeeded"
    resumed = number(world.stay(A), "bytes_resumed")
    again = world.served_bytes("large") - served
    assert 0.2 * whole < resumed < whole
    assert again <= whole - resumed + 4 * MIB, "what is here is not fetched again"
    assert world.served_bytes("large") <= whole + 8 * MIB
    assert world.answer() == expected_text("gamma")


def test_a_running_fetch_takes_another_pace_over(world: World, weights: Path) -> None:
    config = world.configure(a="large")
    free = config.read_text()
    whole = size_bytes(weights / "models" / "large")
    config.write_text(free.replace("[weights]", f"[weights]\nmax_bytes_per_s = {whole // 200}"))
    world.join(config)
    world.post("load?wait=0", {"model_id": A})
    world.heard(lambda: bool(at(world.stay(A), "bytes_done")), "it comes, for three minutes", 30)
    config.write_text(free)
    world.agent.process.send_signal(signal.SIGHUP)
    world.heard(lambda: world.statuses(A)[-1:] == ["succeeded"], "it is here at once", 45)
    fetches = [one for one in world.log() if one["what"] == "FetchWeights"]
    assert len(fetches) == 1, "by the very fetch that ran"


@pytest.fixture
def moto(weights: Path) -> Iterator[str]:
    """Another maker's S3, with the same objects; its endpoint."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    line = http.client.HTTPConnection(host, port, timeout=10)

    def put(target: str, content: bytes = b"") -> None:
        line.request("PUT", target, content, {"Authorization": ANYBODY})
        answer = line.getresponse()
        assert (answer.status, answer.read() and b"") == (200, b"")

    put("/models")
    for path in sorted((weights / "models" / "tiny-a").iterdir()):
        put(f"/models/tiny-a/{path.name}", path.read_bytes())
    line.close()
    yield f"http://{host}:{port}"
    server.stop()


def test_a_store_of_another_make(world: World, moto: str) -> None:
    world.join(world.configure(store=moto))
    assert world.load(A)["status"] == "succeeded"
    assert world.answer() == expected_text("alpha")
    assert world.served_bytes("tiny-a") == 0
