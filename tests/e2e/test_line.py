"""A coordinator that vanishes and comes back, and an agent that is asked to leave."""

import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from world import A, B, World, begun, text_of

from poolhand.agent.dev.checkpoint import expected_text
from poolhand.agent.dev.stage import at

pytestmark = pytest.mark.e2e

HELLO = expected_text("alpha")
DRAINING = "provider draining for update"


def kill_coordinator(world: World) -> int:
    """End it without a word; where it listened."""
    world.coordinator.process.kill()
    world.coordinator.process.wait()
    return int(world.coordinator.url.rpartition(":")[2])


def revive_coordinator(world: World, port: int) -> float:
    """Start it again at the same place; when it listened, in monotonic seconds."""
    del world.actors["coordinator"]
    (world.folder / "coordinator.log").unlink()
    world.url_of(world.open_coordinator(port=port))
    return time.monotonic()


def test_a_coordinator_that_is_killed_finds_the_model_warm(world: World) -> None:
    world.join(world.configure())
    assert world.load(A)["status"] == "succeeded"
    stream = world.stream("[loop]", most=3500)
    begun(stream)
    port = kill_coordinator(world)
    with pytest.raises(openai.APIConnectionError):
        for _ in stream:
            pass
    since_s = revive_coordinator(world, port)
    world.heard(lambda: bool(world.providers()), "the agent is back", 20)
    assert time.monotonic() - since_s < 6
    world.heard(lambda: at(world.slot(), "model") == A, "the model is warm")
    world.heard(lambda: at(world.slot(), "state") == "idle", "the old request is over")
    assert at(world.provider(), "registers") == 1
    assert world.answer() == HELLO
    assert world.statuses(A) == []


def test_a_load_that_ends_while_the_line_is_down_is_told_once(world: World) -> None:
    world.join(world.configure(a="large"))
    world.throttle(1_000_000)
    world.post("load?wait=0", {"model_id": A})
    world.heard(lambda: at(world.stay(A), "state") == "downloading", "it downloads")
    port = kill_coordinator(world)
    del world.actors["coordinator"]  # nobody is to wait for it meanwhile
    world.throttle(0)
    world.heard(lambda: at(world.stay(A), "state") == "ready", "it is ready", 40)
    world.actors["coordinator"] = world.open_coordinator(port=port)
    (world.folder / "coordinator.log").write_bytes(b"")
    world.heard(lambda: "ready on" in world.coordinator.tail(), "the coordinator listens", 20)
    world.coordinator.url = f"http://127.0.0.1:{port}"
    world.heard(lambda: bool(world.providers()), "the agent is back", 35)
    world.heard(lambda: bool(world.statuses(A)), "it tells of its load")
    assert at(world.post("challenge"), "challenges", 0, "verdict") == "passed"
    assert world.statuses(A) == ["succeeded"]


def test_after_a_polite_restart_it_comes_back_and_serves(world: World) -> None:
    world.join(world.configure())
    assert world.load(A)["status"] == "succeeded"
    (before,) = world.providers()
    world.post("drop")
    world.heard(lambda: before not in world.providers(), "the line is gone")
    world.heard(lambda: bool(world.providers()), "it is back", 5)
    world.heard(lambda: at(world.slot(), "model") == A, "the model is warm")
    assert world.answer() == HELLO


def test_sigterm_lets_a_stream_end_and_refuses_what_is_new(world: World) -> None:
    world.join(world.configure())
    assert world.load(A)["status"] == "succeeded"
    stream = world.stream("[loop]", most=800)
    begun(stream)
    with ThreadPoolExecutor(1) as aside:
        rest = aside.submit(list, stream)
        world.agent.process.terminate()
        world.heard(
            lambda: at(world.agent.status(), "why_not", 0, "code") == "node_draining", "it drains"
        )
        with pytest.raises(openai.RateLimitError, match=DRAINING):
            world.answer()
        for model in (A, B):
            assert world.load(model)["error"] == DRAINING
        assert not rest.done()
        chunks = rest.result(timeout=40)
    assert chunks[-2].choices[0].finish_reason == "length"
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens == 800
    assert set("".join(map(text_of, chunks)).split()) >= {"tick", "tock"}
    assert world.agent.process.wait(20) == 0
    assert at(world.state(), "gone", 0, "ended") == "closed 1000"
