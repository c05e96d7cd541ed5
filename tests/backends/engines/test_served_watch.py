"""What is known of a server from outside: figures, window, sleep; against one that a test plays."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from poolhand.backends.engines.http_call import CallFailed, Peer
from poolhand.backends.engines.profiles import Profile
from poolhand.backends.engines.profiles_attach import AttachProfile
from poolhand.backends.engines.profiles_vllm import VllmProfile
from poolhand.backends.engines.served_watch import MEMORY_EVERY, Watch

Serve = Callable[[object], AbstractAsyncContextManager[Peer]]
Answers = dict[str, tuple[int, str]]

FIGURES = 'vllm:num_requests_running{engine="0"} 2\nvllm:num_requests_waiting{engine="0"} 1\n'


class Played:
    """A server that answers from a table, and remembers what it was asked."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        self.asked.append(f"{method} {target}")
        status, body = self.answers.get(target, (404, ""))
        raw = body.encode()
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw)
        await writer.drain()


def watch(
    peer: Peer, profile: Profile | None = None, *, sleep_after_s: float = 0.0, held: int = 7
) -> Watch:
    return Watch(peer, profile or VllmProfile(), memory=lambda: held, sleep_after_s=sleep_after_s)


async def test_a_look_reads_the_figures_and_the_memory(serve: Serve) -> None:
    played = Played({"/metrics": (200, FIGURES)})
    async with serve(played.talk) as peer:
        here = watch(peer)
        assert (here.gauges.running, here.gauges_s, here.memory_bytes) == (None, -1.0, None)
        await here.look(idle_s=0)
    assert (here.gauges.running, here.gauges.waiting) == (2, 1)
    assert here.gauges_s > 0
    assert (here.memory_bytes, here.missed) == (7, 0)
    assert played.asked == ["GET /metrics"]


async def test_memory_is_measured_now_and_then(serve: Serve) -> None:
    measured: list[int] = []

    def memory() -> int:
        measured.append(1)
        return len(measured)

    played = Played({"/metrics": (200, FIGURES)})
    async with serve(played.talk) as peer:
        here = Watch(peer, VllmProfile(), memory=memory)
        for _ in range(MEMORY_EVERY + 1):
            await here.look(idle_s=0)
    assert len(measured) == 2


@pytest.mark.parametrize("metrics", [(404, ""), (200, "<html>"), (500, FIGURES)])
async def test_a_server_without_figures_is_only_asked_whether_it_is_there(
    metrics: tuple[int, str], serve: Serve
) -> None:
    played = Played({"/metrics": metrics, "/v1/models": (200, "{}")})
    async with serve(played.talk) as peer:
        here = watch(peer, AttachProfile())
        for _ in range(3):
            await here.look(idle_s=0)
    assert here.gauges.running is None
    assert here.missed == 0
    assert played.asked.count("GET /metrics") == 1
    assert played.asked[-1] == "GET /v1/models"


async def test_looks_that_nobody_answers_are_counted_in_a_row(serve: Serve) -> None:
    played = Played({"/metrics": (200, FIGURES)})
    here = watch(Peer("http://localhost", socket_path="/nowhere/s"))
    for times in (1, 2, 3):
        await here.look(idle_s=0)
        assert here.missed == times
    async with serve(played.talk) as peer:
        here = watch(peer)
        here.missed = 2
        await here.look(idle_s=0)
        assert here.missed == 0


@pytest.mark.parametrize(
    ("models", "tokens"),
    [
        ({"data": [{"id": "local", "max_model_len": 4096}]}, 4096),
        ({"data": [{"id": "local", "meta": {"n_ctx": 512}}]}, 512),
        ({"data": [{"id": "a", "max_model_len": 1}, {"id": "b", "max_model_len": 2}]}, None),
        ({"data": [{"id": "x", "max_model_len": 1}, {"id": "local", "max_model_len": 2}]}, 2),
        ({"data": [{"id": "whole path", "max_model_len": 4096}]}, 4096),
        ({"data": [7, None]}, None),
        ({"data": [{"id": "local", "max_model_len": 0}]}, None),
        ({"data": [{"id": "local", "max_model_len": "4096"}]}, None),
        ({"data": [{"id": "local"}]}, None),
        ({"data": []}, None),
        ([], None),
    ],
)
async def test_the_window_is_what_a_server_says_of_its_one_model(
    models: object, tokens: int | None, serve: Serve
) -> None:
    played = Played({"/v1/models": (200, json.dumps(models))})
    async with serve(played.talk) as peer:
        assert await watch(peer).context_tokens("local") == tokens


@pytest.mark.parametrize("said", [(404, "{}"), (200, "{"), (200, "[" * 100_000)])
async def test_no_window_can_be_read_out_of_garbage(said: tuple[int, str], serve: Serve) -> None:
    async with serve(Played({"/v1/models": said}).talk) as peer:
        assert await watch(peer).context_tokens("local") is None


SLEEPY: Answers = {
    "/metrics": (200, FIGURES),
    "/sleep?level=1": (200, "{}"),
    "/wake_up": (200, "{}"),
}


async def test_it_is_put_to_sleep_once_and_woken_once(serve: Serve) -> None:
    played = Played(SLEEPY)
    async with serve(played.talk) as peer:
        here = watch(peer, sleep_after_s=10)
        await here.wake()
        await here.look(idle_s=9.9)
        assert played.asked == ["GET /metrics"], "awake, and not idle for long enough"
        await here.look(idle_s=10)
        await here.look(idle_s=11)
        await asyncio.gather(here.wake(), here.wake())
    posted = [one for one in played.asked if one.startswith("POST")]
    assert posted == ["POST /sleep?level=1", "POST /wake_up"]


async def test_without_the_wish_nobody_is_put_to_sleep(serve: Serve) -> None:
    played = Played(SLEEPY)
    async with serve(played.talk) as peer:
        for here in (watch(peer), watch(peer, AttachProfile(), sleep_after_s=1)):
            await here.look(idle_s=10**6)
            await here.wake()
    assert not any(one.startswith("POST") for one in played.asked)


async def test_one_that_does_not_wake_says_so(serve: Serve) -> None:
    played = Played({**SLEEPY, "/wake_up": (500, "")})
    async with serve(played.talk) as peer:
        here = watch(peer, sleep_after_s=1)
        await here.look(idle_s=2)
        with pytest.raises(CallFailed, match="/wake_up with status 500"):
            await here.wake()
        played.answers["/wake_up"] = (200, "{}")
        await here.wake()
    assert played.asked[-2:] == ["POST /wake_up"] * 2, "tried anew by the next request"


async def test_one_that_does_not_lie_down_is_woken_all_the_same(serve: Serve) -> None:
    played = Played({**SLEEPY, "/sleep?level=1": (500, "")})
    async with serve(played.talk) as peer:
        here = watch(peer, sleep_after_s=1)
        await here.look(idle_s=2)
        assert here.missed == 1
        await here.wake()
    assert played.asked[-1] == "POST /wake_up"


@pytest.mark.parametrize(
    ("status", "ours", "anybodys"),
    [
        (200, True, True),
        (404, False, True),
        (500, False, True),
        (502, False, False),
        (503, False, False),
        (504, False, False),
    ],
)
async def test_a_server_of_any_kind_is_there_once_it_answers(
    serve: Serve, status: int, *, ours: bool, anybodys: bool
) -> None:
    played = Played({"/health": (status, ""), "/v1/models": (status, "")})
    async with serve(played.talk) as peer:
        assert await watch(peer).is_there() == ours
        attached = watch(peer, AttachProfile())
        assert await attached.is_there() == anybodys
        await attached.look(idle_s=0)
    assert attached.missed == (0 if anybodys else 1)
    assert not await watch(Peer("http://127.0.0.1:1"), AttachProfile()).is_there()
