"""The official OpenAI client on the control socket: the same queue, slots and ends as any other."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import cast

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from poolhand.agent.control.access import port
from poolhand.agent.core import events as happened
from poolhand.agent.core import ordered
from poolhand.agent.core import status as told
from poolhand.agent.core.request_key import LOCAL
from poolhand.agent.runtime.relay import BEAT_S
from poolhand.backends.engines.base import (
    Delta,
    Finished,
    Piece,
    Prompt,
    Started,
    ToolCall,
    Usage,
)
from poolhand.backends.engines.echo import EchoEngine
from poolhand.backends.engines.errors import EngineDied
from poolhand.config.errors import LinkLost
from poolhand.config.refusals import ContextExceeded, ModelCrashed, RequestRefused
from poolhand.config.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))

from local_world import ALIAS, CANARY, COLD, KEY, MODEL, OUTSIDE, Rig, client, on_port, served

SAID: list[ChatCompletionMessageParam] = [{"role": "user", "content": f"one two {CANARY}"}]


class Scripted(EchoEngine):
    """Says what it is told to; stands still where it finds a number, until it is closed."""

    def __init__(self, pieces: Sequence[Piece | Exception | None]) -> None:
        super().__init__()
        self._pieces = pieces
        self.prompts: list[Prompt] = []
        self.yielded = 0
        self.is_asked, self.is_closed = asyncio.Event(), asyncio.Event()

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        self.prompts.append(prompt)
        self.is_asked.set()
        try:
            for piece in self._pieces:
                if piece is None:
                    await asyncio.Event().wait()
                elif isinstance(piece, Exception):
                    raise piece
                else:
                    self.yielded += 1
                    yield piece
        finally:
            self.is_closed.set()


def text_of(chunk: ChatCompletionChunk) -> str:
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


async def stream(
    api: AsyncOpenAI, model: str = MODEL, *, has_usage: bool = False
) -> AsyncStream[ChatCompletionChunk]:
    more = {"stream_options": {"include_usage": True}} if has_usage else {}
    return await api.chat.completions.create(
        model=model, messages=SAID, stream=True, extra_body=more
    )


def problem(error: openai.APIStatusError) -> tuple[int, str | None, str | None]:
    return error.status_code, error.code, error.type


# ── answers ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [MODEL, ALIAS])
async def test_a_chat_is_answered_whole(tmp_path: Path, name: str) -> None:
    async with served(tmp_path, {MODEL: EchoEngine()}) as (rig, api):
        raw = await api.chat.completions.with_raw_response.create(model=name, messages=SAID)
        answer = raw.parse()
        assert answer.choices[0].message.content == f"one two {CANARY}"
        assert answer.choices[0].message.role == "assistant"
        assert answer.choices[0].finish_reason == "stop"
        assert (answer.object, answer.model) == ("chat.completion", MODEL)
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (3, 6)
        assert raw.headers["x-request-id"] == answer.id
        assert answer.id.startswith("chatcmpl-")
        (ended,) = rig.ended()
        assert (ended.request.line, ended.request.id, ended.outcome) == (
            LOCAL,
            answer.id,
            "complete",
        )


async def test_a_stream_comes_word_by_word_and_ends_as_openai_says(tmp_path: Path) -> None:
    async with served(tmp_path, {MODEL: EchoEngine(pause_s=0.03)}) as (_, api):
        chunks = [chunk async for chunk in await stream(api, has_usage=True)]
        assert "".join(map(text_of, chunks)) == f"one two {CANARY}"
        assert len([chunk for chunk in chunks if text_of(chunk)]) == 3
        assert chunks[0].choices[0].delta.role == "assistant"
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].choices == []
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 3
        unasked = [chunk async for chunk in await stream(api)]
        assert all(chunk.choices and chunk.usage is None for chunk in unasked)


async def test_a_text_completion_is_answered_both_ways(tmp_path: Path) -> None:
    async with served(tmp_path, {MODEL: EchoEngine()}) as (_, api):
        whole = await api.completions.create(model=MODEL, prompt="a b c", max_tokens=2)
        assert (whole.object, whole.choices[0].text) == ("text_completion", "a b")
        assert whole.choices[0].finish_reason == "length"
        assert whole.id.startswith("cmpl-")
        coming = await api.completions.create(model=MODEL, prompt="a b c", stream=True)
        assert "".join([chunk.choices[0].text async for chunk in coming]) == "a b c"


async def test_tools_thoughts_and_stop_words_pass_through(tmp_path: Path) -> None:
    calls = (ToolCall("call_1", "look", '{"at": 1}'), ToolCall("call_2", "look", "{}"))
    pieces = [
        *(Started(7), Delta(reasoning="hm ", tokens=1), Delta(reasoning="so", tokens=1)),
        *(Delta(tool_calls=calls, tokens=9), Finished("tool_calls", Usage(7, 11, 2, 5))),
    ]
    engine = Scripted(pieces)
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    async with served(tmp_path, {MODEL: engine}) as (_, api):
        answer = await api.chat.completions.create(
            model=ALIAS, messages=SAID, stop=["END"], extra_body={"tools": [tool]}
        )
        (choice,) = answer.choices
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        told = [(c.id, c.type, c.to_dict()["function"]) for c in choice.message.tool_calls or ()]
        assert told == [
            ("call_1", "function", {"name": "look", "arguments": '{"at": 1}'}),
            ("call_2", "function", {"name": "look", "arguments": "{}"}),
        ]
        assert choice.message.to_dict()["reasoning_content"] == "hm so"
        assert answer.usage is not None
        assert answer.usage.completion_tokens_details is not None
        assert answer.usage.completion_tokens_details.reasoning_tokens == 2
        assert answer.usage.prompt_tokens_details is not None, "its own prompts were there before"
        assert answer.usage.prompt_tokens_details.cached_tokens == 5
        (prompt,) = engine.prompts
        assert prompt.body["stop"] == ["END"]
        assert prompt.body["tools"] == [tool]
        assert prompt.body["model"] == MODEL, "an engine knows no aliases"


async def test_the_models_are_listed_and_found_as_openai_does(tmp_path: Path) -> None:
    async with served(tmp_path, {MODEL: EchoEngine()}) as (_, api):
        assert [model.id async for model in api.models.list()] == [ALIAS, MODEL, COLD]
        assert (await api.models.retrieve(MODEL)).id == MODEL
        with pytest.raises(openai_error(404)) as caught:
            await api.models.retrieve(OUTSIDE)
        assert problem(caught.value)[1] == "model_not_found"


def openai_error(status: int) -> type[openai.APIStatusError]:
    return openai.NotFoundError if status == 404 else openai.APIStatusError


# ── the same queue and slots ──────────────────────────────────────────────────────────


async def test_a_local_request_counts_like_any_other_and_is_known_as_local(tmp_path: Path) -> None:
    engine = Scripted([Started(3), Delta("a", tokens=1), None])
    async with served(tmp_path, {MODEL: engine}) as (rig, api):
        coming = await stream(api)
        assert text_of(await anext(coming)) == "a"
        node, now_s = rig.world.node, rig.world.now_s
        now = cast("dict[str, dict[str, int]]", told.status(node, now_s))["requests"]
        assert (now["running"], now["local"], now["local_served"]) == (1, 1, 0)
        (slot,) = cast("list[dict[str, int]]", told.status(node, now_s)["slots"])
        assert slot["requests"] == 1
        assert node.snapshot(now_s).busy == {MODEL}, "it is not sent away for another"
        await coming.close()
        await rig.until(happened.GenerationEnded)
    async with served(tmp_path, {MODEL: EchoEngine()}) as (rig, api):
        await api.chat.completions.create(model=MODEL, messages=SAID)
        ledger = rig.world.node.answers.ledger
        assert (ledger.local_stats().requests_served, ledger.local_stats().tokens_generated) == (
            1,
            3,
        )
        assert set(ledger.stats().model_dump().values()) == {0}, "no coordinator is told of it"
        counted = "\n".join(line for each in rig.desk.counts.series for line in each.lines())
        assert 'poolhand_requests_total{outcome="complete"} 1' in counted
        assert 'poolhand_local_requests_total{outcome="complete"} 1' in counted


async def test_the_queue_is_everyones(tmp_path: Path) -> None:
    engine = Scripted([Started(3), Delta("a", tokens=1), None])
    async with served(tmp_path, {MODEL: engine}, requests={"max_concurrent": 2}) as (rig, api):
        rig.world.request("r", MODEL)  # the coordinator's
        coming = await stream(api)
        await anext(coming)
        with pytest.raises(openai_error(429)) as caught:
            await stream(api)
        assert problem(caught.value) == (429, "overloaded", "rate_limit_error")
        assert caught.value.response.headers["retry-after"] == "1"
        await coming.close()
        await rig.until(happened.GenerationEnded)


async def test_several_at_once_each_get_their_own(tmp_path: Path) -> None:
    async with served(tmp_path, {MODEL: EchoEngine(pause_s=0.002)}) as (rig, api):

        async def ask(number: int) -> str:
            words = f"{number} says " * 5
            answer = await api.chat.completions.create(
                model=ALIAS, messages=[{"role": "user", "content": words}]
            )
            return answer.choices[0].message.content or ""

        answers = await asyncio.gather(*map(ask, range(16)))
        assert answers == [(f"{number} says " * 5).strip() for number in range(16)]
        assert {ended.outcome for ended in rig.ended()} == {"complete"}
        assert len(rig.world.node.answers.ledger) == 0


# ── what ends early ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("has_begun", [True, False])
async def test_whoever_hangs_up_ends_the_answer_at_once(tmp_path: Path, *, has_begun: bool) -> None:
    pieces: list[Piece | Exception | None] = [Started(3), Delta("a", tokens=1), None]
    engine = Scripted(pieces if has_begun else [None])
    async with served(tmp_path, {MODEL: engine}) as (rig, api):
        asking = asyncio.ensure_future(stream(api))
        await rig.until(happened.RequestOpened)
        if has_begun:
            coming = await asking
            await anext(coming)
            await coming.close()
        else:
            await engine.is_asked.wait()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        begun_s = asyncio.get_running_loop().time()
        await rig.until(happened.GenerationEnded)
        took_s = asyncio.get_running_loop().time() - begun_s
        assert engine.is_closed.is_set()
        assert took_s < 0.25
        assert [event.outcome for event in rig.ended()] == ["cancelled"]
        assert len(rig.world.node.answers.ledger) == 0


async def test_a_reader_who_stands_still_slows_the_engine(tmp_path: Path) -> None:
    long = [Delta("x" * 2**18, tokens=1) for _ in range(40)]
    engine = Scripted([Started(1), *long, Finished("stop", Usage(1, 40))])
    async with served(tmp_path, {MODEL: engine}) as (rig, api):
        coming = await stream(api)
        await anext(coming)
        before = -1
        async with asyncio.timeout(20):
            while before != engine.yielded:
                before = engine.yielded
                await asyncio.sleep(10 * BEAT_S)
        assert before < 30, "it waits for room"
        assert sum([len(text_of(chunk)) async for chunk in coming]) == 39 * 2**18
        assert rig.ended()[0].outcome == "complete"
        assert rig.local.chunks == 42, "with its reason and its usage"


async def test_a_drain_lets_what_runs_end_and_takes_nothing_new(tmp_path: Path) -> None:
    async with served(tmp_path, {MODEL: EchoEngine(pause_s=0.02)}) as (rig, api):
        coming = await stream(api)
        await anext(coming)
        rig.tell(ordered.DrainAsked(1))
        with pytest.raises(openai_error(503)) as caught:
            await stream(api)
        assert problem(caught.value) == (503, "node_draining", "server_error")
        assert "retry-after" in caught.value.response.headers
        chunks = [chunk async for chunk in coming]
        assert chunks[-1].choices[0].finish_reason == "stop"


async def test_a_coordinator_that_is_lost_is_no_business_of_local_programs(
    tmp_path: Path,
) -> None:
    engines, slots = {MODEL: EchoEngine(pause_s=0.02)}, {"max_model_slots": 2}
    async with served(tmp_path, engines, slots=slots) as (rig, api):
        coming = await stream(api)
        await anext(coming)
        waiting = asyncio.ensure_future(stream(api, COLD))
        await rig.until(happened.RequestOpened, 2)
        lost = LinkLost(close_code=1006, reason="")
        rig.tell(happened.LinkClosed(rig.world.line, 1006, lost))
        chunks = [chunk async for chunk in coming]
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert len(rig.world.node.answers.ledger) == 1, "whoever waits for a model goes on waiting"
        waiting.cancel()
        await rig.until(happened.RequestWithdrawn)
        late = await api.chat.completions.create(model=MODEL, messages=SAID)
        assert late.choices[0].finish_reason == "stop", "no line is needed for it"


async def test_an_answer_that_is_cut_short_says_so_in_the_stream(tmp_path: Path) -> None:
    engine = Scripted([Started(3), Delta("a", tokens=1), None])
    async with served(tmp_path, {MODEL: engine}) as (rig, api):
        coming = await stream(api)
        await anext(coming)
        rig.tell(happened.StopAsked(now=True))
        rig.world.now_s += 1
        rig.tell(happened.Due())
        with pytest.raises(openai.APIError) as caught:
            await anext(coming)
        assert caught.value.code == "node_draining"


async def test_an_engine_that_dies_mid_answer_is_an_error_not_an_end(tmp_path: Path) -> None:
    engine = Scripted([Started(3), Delta("a", tokens=1), EngineDied(engine="x", exit_code=9)])
    async with served(tmp_path, {MODEL: engine}) as (rig, api):
        with pytest.raises(openai.APIError) as caught:
            [_ async for _ in await stream(api)]
        assert caught.value.code == "engine_died"
        with pytest.raises(openai_error(503)):
            await api.chat.completions.create(model=MODEL, messages=SAID)
        assert [ended.outcome for ended in rig.ended()] == ["failed", "failed"]
        counted = "\n".join(line for each in rig.desk.counts.series for line in each.lines())
        assert 'poolhand_requests_total{outcome="failed"} 2' in counted
        assert "refused" not in counted, "each request ends once"


# ── a model that is not here ──────────────────────────────────────────────────────────


async def test_a_cold_model_of_the_pool_is_loaded_and_then_answers(tmp_path: Path) -> None:
    engines = {MODEL: EchoEngine(), COLD: EchoEngine()}
    async with served(tmp_path, engines, slots={"max_model_slots": 2}) as (rig, api):
        asking = asyncio.ensure_future(stream(api, COLD))
        await rig.until(happened.RequestOpened)
        assert rig.world.state(COLD)
        rig.tell(happened.WeightsFetched(COLD))
        rig.world.stage(COLD)
        loaded = rig.world.loaded(COLD)
        for effect in loaded:
            rig.perform(effect)
        chunks = [chunk async for chunk in await asking]
        assert "".join(map(text_of, chunks)) == f"one two {CANARY}"


async def test_whoever_leaves_while_a_model_comes_is_forgotten(tmp_path: Path) -> None:
    async with served(tmp_path, {MODEL: EchoEngine()}, is_ready=False) as (rig, api):
        asking = asyncio.ensure_future(stream(api))
        await rig.until(happened.RequestOpened)
        assert len(rig.world.node.answers.ledger) == 1
        asking.cancel()
        await rig.until(happened.RequestWithdrawn)
        assert len(rig.world.node.answers.ledger) == 0


async def test_a_load_that_fails_is_told_with_when_to_come_again(tmp_path: Path) -> None:
    async with served(tmp_path, {}, is_ready=False) as (rig, api):
        asking = asyncio.ensure_future(stream(api))
        await rig.until(happened.RequestOpened)
        rig.tell(happened.WeightsFailed(MODEL, EngineDied(engine="x", exit_code=1)))
        with pytest.raises(openai_error(503)) as caught:
            await asking
        assert problem(caught.value)[1] == "model_not_ready"
        assert int(caught.value.response.headers["retry-after"]) >= 1


# ── what is refused ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"{", 400, "bad_request", None),
        (b"[1]", 400, "bad_request", None),
        (b"[" * 10_000, 400, "bad_request", None),
        (b'{"model": "org/a", "messages": [1], "seed": NaN}', 400, "bad_request", None),
        (b"{}", 400, "bad_request", "model"),
        (b'{"model": 3}', 400, "bad_request", "model"),
        (b'{"model": "org/a"}', 400, "bad_request", "messages"),
        (b'{"model": "org/a", "messages": []}', 400, "bad_request", "messages"),
        (b'{"model": "org/a", "messages": "hi"}', 400, "bad_request", "messages"),
        (b'{"model": "org/a", "messages": [1], "stream": "yes"}', 400, "bad_request", "stream"),
        (b'{"model": "org/a", "messages": [1], "max_tokens": -1}', 400, "bad_request",
         "max_tokens"),
        (b'{"model": "org/a", "messages": [1], "max_tokens": true}', 400, "bad_request",
         "max_tokens"),
        (b'{"model": "org/a", "messages": [1], "max_tokens": 1.5}', 400, "bad_request",
         "max_tokens"),
        (b'{"model": "org/a", "messages": [1], "max_tokens": 16.0}', 400, "request_refused", None),
        (b'{"model": "org/a", "messages": [1], "stream_options": 1}', 400, "bad_request",
         "stream_options"),
        (b'{"model": "org/a", "messages": [1]}', 400, "request_refused", None),
        (b'{"model": "org/nowhere", "messages": [1]}', 404, "model_not_found", "model"),
        (b'{"model": "org/c", "messages": [1]}', 404, "model_not_in_pool", None),
        (b'{"model": "other", "messages": [1]}', 404, "model_not_in_pool", None),
        (b" " * (5 * 2**20), 413, "too_large", None),
    ],
)  # fmt: skip
async def test_a_bad_request_is_told_what_is_wrong(
    tmp_path: Path, body: bytes, status: int, code: str, param: str | None
) -> None:
    async with served(tmp_path, {MODEL: EchoEngine()}) as (rig, api):
        line = httpx2.AsyncHTTPTransport(uds=str(tmp_path / "state" / "control.sock"))
        async with httpx2.AsyncClient(transport=line) as raw:
            answer = await raw.post("http://localhost/v1/chat/completions", content=body)
        assert answer.status_code == status
        assert set(answer.json()) == {"error"}
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert (error["code"], error["param"]) == (code, param)
        assert error["type"] == "invalid_request_error"
        assert len(rig.world.node.answers.ledger) == 0
        assert (await api.chat.completions.create(model=MODEL, messages=SAID)).choices


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RequestRefused(reason="n must be 1"), 400, "request_refused"),
        (ContextExceeded(prompt_tokens=9000, context_tokens=8192), 400, "context_exceeded"),
    ],
)
async def test_what_the_engine_refuses_has_its_own_status(
    tmp_path: Path, error: Exception, status: int, code: str
) -> None:
    async with served(tmp_path, {MODEL: Scripted([error])}) as (_, api):
        for asking in (
            stream(api),
            api.chat.completions.create(model=MODEL, messages=SAID),
        ):
            with pytest.raises(openai_error(status)) as caught:
                await asking
            assert problem(caught.value) == (status, code, "invalid_request_error")
            assert "retry-after" not in caught.value.response.headers


async def test_a_model_that_comes_back_soon_says_when(tmp_path: Path) -> None:
    crashed = ModelCrashed(model=MODEL, times=2, waits_s=7.2)
    async with served(tmp_path, {MODEL: Scripted([crashed])}) as (_, api):
        with pytest.raises(openai_error(503)) as caught:
            await stream(api)
        assert problem(caught.value)[1] == "model_crashed"
        assert caught.value.response.headers["retry-after"] == "8"


async def test_it_is_off_unless_it_is_wanted_and_may_be_switched_while_it_runs(
    tmp_path: Path,
) -> None:
    off = {"openai_api": False}
    async with served(tmp_path, {MODEL: EchoEngine()}, control=off) as (rig, api):
        for asking in (stream(api), api.models.retrieve(MODEL)):
            with pytest.raises(openai_error(404)) as caught:
                await asking
            assert problem(caught.value)[1] == "endpoint_off"
            assert "openai_api = true" in caught.value.message
        chosen = rig.world.node.settings.model_dump()
        rig.tell(
            happened.SettingsChanged(
                Settings.model_validate({**chosen, "control": {"openai_api": True}})
            )
        )
        assert (await api.chat.completions.create(model=MODEL, messages=SAID)).choices
        rig.desk.ask = None
        with pytest.raises(openai_error(503)) as late:
            await stream(api)
        assert problem(late.value)[1] == "starting"


async def test_on_the_port_only_with_the_key_and_never_for_a_page(tmp_path: Path) -> None:
    async with served(tmp_path, {MODEL: EchoEngine()}) as (rig, _):
        with port(0) as bound:
            number = bound.getsockname()[1]
            base = f"http://127.0.0.1:{number}/v1"
            async with on_port(rig, bound, number):
                async with client(None, base, KEY) as mine:
                    answer = await mine.chat.completions.create(model=ALIAS, messages=SAID)
                    assert answer.choices[0].message.content == f"one two {CANARY}"
                    assert [m.id async for m in mine.models.list()] == [ALIAS, MODEL, COLD]
                    page = mine.with_options(default_headers={"Origin": "https://evil.example"})
                    with pytest.raises(openai.PermissionDeniedError) as caught:
                        await stream(page)
                    assert caught.value.code == "wrong_origin"
                async with client(None, base, "not-the-key") as stranger:
                    with pytest.raises(openai.AuthenticationError) as refused:
                        await stream(stranger)
                    assert refused.value.code == "no_key"
                    large = json.dumps({"model": MODEL, "messages": ["x" * 3 * 2**20]})
                    with pytest.raises(openai.AuthenticationError):
                        await stranger.post("/chat/completions", cast_to=object, body=large)
    assert [ended.outcome for ended in rig.ended()] == ["complete"], "nobody else got in"


async def test_long_answers_take_no_place_from_the_others(tmp_path: Path) -> None:
    engine = Scripted([Started(3), Delta("a", tokens=1), None])
    requests = {"max_concurrent": 40}
    async with served(tmp_path, {MODEL: engine}, requests=requests) as (rig, api):
        streams = [
            one
            for _ in range(2)  # as many as may knock at once
            for one in await asyncio.gather(*(stream(api) for _ in range(20)))
        ]
        line = httpx2.AsyncHTTPTransport(uds=str(tmp_path / "state" / "control.sock"))
        async with httpx2.AsyncClient(transport=line) as raw:
            assert (await raw.get("http://localhost/healthz")).status_code == 200
        await asyncio.gather(*(each.close() for each in streams))
        await rig.until(happened.GenerationEnded, 40)


async def test_nothing_that_is_said_gets_into_texts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path, {MODEL: EchoEngine()}) as (rig, api):
        await api.chat.completions.create(model=MODEL, messages=SAID)
        assert is_silent(rig, caplog)


def is_silent(rig: Rig, caplog: pytest.LogCaptureFixture) -> bool:
    texts = [*map(repr, rig.told), *map(repr, rig.done), caplog.text, repr(rig.relay)]
    return not any(CANARY in text for text in texts)
