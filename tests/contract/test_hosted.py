"""An engine that somebody else runs, against providers that are real HTTPS servers."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from anthropic.types import RawMessageStreamEvent
from openai.types.chat import ChatCompletionChunk
from providers import CANARY, HOST, KEY, Dialect, Provider, here, provided
from pydantic import TypeAdapter

from poolhand.agent.runtime.chunks import Chunks
from poolhand.backends.engines.base import Delta, Finished, Native, Piece, Prompt, Started, Usage
from poolhand.backends.engines.errors import EngineNotRunning
from poolhand.backends.engines.hosted import HostedEngine
from poolhand.backends.engines.hosted_days import Days, path_of
from poolhand.backends.engines.hosted_errors import (
    DailyLimitReached,
    ProviderBroke,
    ProviderBusy,
    ProviderPaused,
    ProviderRefused,
    ProviderUnreachable,
    ProviderUnsafe,
)
from poolhand.backends.engines.hosted_peer import Peers, Resolve
from poolhand.backends.engines.served_body import LIMIT_BYTES
from poolhand.config.errors import AgentError, SecretUnusable
from poolhand.config.external import External
from poolhand.config.refusals import (
    ContextExceeded,
    Overloaded,
    RequestRefused,
    RequestTooLarge,
)
from poolhand.config.secrets import Secret

DIALECTS: list[Dialect] = ["openai", "anthropic", "azure"]


@pytest_asyncio.fixture(params=DIALECTS)
async def provider(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Provider]:
    async with provided(request.param, tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def openai(tmp_path: Path) -> AsyncGenerator[Provider]:
    async with provided("openai", tmp_path) as made:
        yield made


def engine_of(
    provider: Provider, state_dir: Path, *, find: Resolve = here, **more: object
) -> HostedEngine:
    external = External.model_validate(provider.settings(**more))
    days = Days(path_of(state_dir, "m"), model="m", external=external, clock_s=lambda: 1e9)
    return HostedEngine(
        model="org/public",
        external=external,
        days=days,
        key=lambda: Secret(KEY),
        peers=Peers(external, find=find),
    )


@asynccontextmanager
async def running(
    provider: Provider, state_dir: Path, *, find: Resolve = here, **more: object
) -> AsyncGenerator[HostedEngine]:
    engine = engine_of(provider, state_dir, find=find, **more)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def asked(
    said: str = "a b c d e f",
    *,
    most: int = 64,
    endpoint: Literal["chat", "text", "messages"] = "chat",
) -> Prompt:
    body: dict[str, object] = {"messages": [{"role": "user", "content": said}]}
    return Prompt("r", endpoint, {"prompt": said} if endpoint == "text" else body, most)


def found(*addresses: str) -> Resolve:
    """A resolver that always says the same."""

    def find(_host: str, _port: int) -> list[str]:
        return list(addresses)

    return find


async def hear(answer: AsyncGenerator[Piece, None]) -> list[Piece]:
    return [piece async for piece in answer]


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Delta))


# ── answers ───────────────────────────────────────────────────────────────────────────


async def test_an_answer_and_what_was_asked(provider: Provider, tmp_path: Path) -> None:
    async with running(provider, tmp_path) as engine:
        pieces = await hear(engine.generate(asked()))
        assert text_of(pieces) == "a b c d e f"
        assert pieces[-1] == Finished("stop", Usage(9, 6))
        assert engine.load().generated_tokens == 6
        assert (engine.load().decode_tps, engine.load().memory_active_bytes) == (None, None)
    sent = provider.asked[0]
    shown = {
        "openai": ("authorization", f"Bearer {KEY}", "/v1/chat/completions"),
        "anthropic": ("x-api-key", KEY, "/v1/messages"),
        "azure": ("api-key", KEY, "/openai/v1/chat/completions"),
    }[provider.dialect]
    assert (sent.headers[shown[0]], sent.target) == shown[1:]
    assert sent.headers["host"] == f"{HOST}:{provider.port}"
    assert sent.body["model"] == "their-model"
    assert "cookie" not in sent.headers


async def test_what_a_client_gets_is_what_the_official_client_reads(
    provider: Provider, tmp_path: Path
) -> None:
    chunks = Chunks("id-1", "org/public", "chat", 1)
    said: list[ChatCompletionChunk] = []
    async with running(provider, tmp_path) as engine:
        async for piece in engine.generate(asked(most=3)):
            match piece:
                case Delta():
                    line = chunks.delta(piece)
                case Finished(reason, _):
                    line = chunks.finish(reason)
                case _:
                    continue
            data = json.loads(line.removeprefix(b"data: "))
            said.append(ChatCompletionChunk.model_validate(data, strict=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in said) == "a b c"
    assert said[-1].choices[0].finish_reason == "length"
    assert {chunk.model for chunk in said} == {"org/public"}


async def test_a_native_answer_is_what_the_official_client_reads(tmp_path: Path) -> None:
    judge = TypeAdapter[object](RawMessageStreamEvent)
    async with provided("anthropic", tmp_path) as provider, running(provider, tmp_path) as engine:
        pieces = await hear(engine.generate(asked(endpoint="messages", most=3)))
    events = [json.loads(piece.data) for piece in pieces if isinstance(piece, Native)]
    for event in events:
        judge.validate_python(event)
    assert events[0]["message"]["model"] == "org/public"
    assert events[-1] == {"type": "message_stop"}
    assert pieces[-1] == Finished("length", Usage(9, 3))


async def test_the_form_decides_whether_a_dialect_serves_it(
    provider: Provider, tmp_path: Path
) -> None:
    async with running(provider, tmp_path) as engine:
        other: Literal["text", "messages"] = (
            "text" if provider.dialect == "anthropic" else "messages"
        )
        with pytest.raises(RequestRefused, match="not served here"):
            await hear(engine.generate(asked(endpoint=other)))
        if provider.dialect != "anthropic":
            assert text_of(await hear(engine.generate(asked(endpoint="text")))) == "a b c d e f"


async def test_pings_and_comments_are_read_over(provider: Provider, tmp_path: Path) -> None:
    provider.plans.append("pings")
    async with running(provider, tmp_path) as engine:
        assert text_of(await hear(engine.generate(asked()))) == "a b c d e f"


async def test_the_operators_headers_go_along(openai: Provider, tmp_path: Path) -> None:
    async with running(openai, tmp_path, headers=("OpenAI-Organization: org-1",)) as engine:
        await hear(engine.generate(asked()))
    assert [one.headers["openai-organization"] for one in openai.heard] == ["org-1"] * 2


async def test_azures_classic_path(tmp_path: Path) -> None:
    async with (
        provided("azure", tmp_path) as provider,
        running(provider, tmp_path, api_version="2024-10-21") as engine,
    ):
        assert text_of(await hear(engine.generate(asked()))) == "a b c d e f"
        assert [one.target for one in provider.heard] == [
            "/openai/models?api-version=2024-10-21",
            "/openai/deployments/their-model/chat/completions?api-version=2024-10-21",
        ]


async def test_a_slow_reader_gets_larger_pieces(openai: Provider, tmp_path: Path) -> None:
    async with running(openai, tmp_path) as engine:
        answer = engine.generate(asked("[loop] x", most=500))
        said = [await anext(answer)]
        async with asyncio.timeout(30):
            while openai.open_lines:  # noqa: ASYNC110 - a count has no event
                await asyncio.sleep(0.002)  # this is the slow reader
        said += await hear(answer)
        assert len(text_of(said).split()) == 500
        assert len(said) < 50


# ── ends that come too early ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "plan", ["cut", "garbage", "error", "no reason", "no usage", "no end", "json"]
)
async def test_what_is_not_whole_is_a_fault(provider: Provider, tmp_path: Path, plan: str) -> None:
    provider.plans.append(plan)
    # its error says that it is overloaded, and Anthropic's comes before the first word
    is_busy = (provider.dialect, plan) == ("anthropic", "error")
    async with running(provider, tmp_path) as engine:
        with pytest.raises(ProviderBusy if is_busy else ProviderBroke) as broke:
            await hear(engine.generate(asked()))
        assert CANARY not in f"{broke.value} {broke.value.request_text} {broke.value!r}"
        assert len(provider.asked) == 1, "what was begun is not begun again"
        assert text_of(await hear(engine.generate(asked()))) == "a b c d e f"
        assert engine.load().running == 0


async def test_a_closed_answer_hangs_up(provider: Provider, tmp_path: Path) -> None:
    async with running(provider, tmp_path) as engine:
        answer = engine.generate(asked("[loop] x", most=10_000_000))
        for _ in range(3):
            await anext(answer)
        assert (engine.load().running, provider.open_lines) == (1, 1)
        await answer.aclose()
        assert engine.load().running == 0
        async with asyncio.timeout(20):
            while provider.open_lines:  # noqa: ASYNC110 - a count has no event
                await asyncio.sleep(0.002)


@pytest.mark.parametrize("plan", ["stalls", "silent"])
async def test_silence_is_not_waited_for_for_ever(
    openai: Provider, tmp_path: Path, plan: str
) -> None:
    openai.plans.extend([plan] * 3)
    async with running(openai, tmp_path, stall_timeout_s=0.2) as engine:
        with pytest.raises((ProviderBroke, ProviderUnreachable)):
            await hear(engine.generate(asked()))
        assert len(openai.asked) == {"stalls": 1, "silent": 3}[plan]


@pytest.mark.parametrize("plan", ["stalls", "silent", "steady"])
async def test_stop_ends_running_answers(openai: Provider, tmp_path: Path, plan: str) -> None:
    openai.plans.append(plan)
    engine = engine_of(openai, tmp_path)
    await engine.start()

    async def read() -> str:
        try:
            await hear(engine.generate(asked("[loop]", most=10_000_000)))
        except AgentError as error:
            return error.code
        return "whole"

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read())
        while not openai.asked:  # noqa: ASYNC110 - a count has no event
            await asyncio.sleep(0.002)
        await engine.stop()
    assert reading.result() == "engine_not_running"
    with pytest.raises(EngineNotRunning):
        await hear(engine.generate(asked()))


# ── refusals ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("plan", "kind"),
    [
        ("400", RequestRefused),
        ("filtered", RequestRefused),
        ("too long", ContextExceeded),
        ("413", RequestTooLarge),
        ("401", ProviderRefused),
        ("403", ProviderRefused),
        ("404", ProviderRefused),
        ("429 unpaid", ProviderRefused),
        ("redirect", ProviderRefused),
        ("429 later", ProviderBusy),
        ("500 final", ProviderBusy),
    ],
)
async def test_a_refusal_is_whose_fault_it_is(
    provider: Provider, tmp_path: Path, plan: str, kind: type[AgentError]
) -> None:
    provider.plans.append(plan)
    async with running(provider, tmp_path) as engine:
        with pytest.raises(kind) as refused:
            await hear(engine.generate(asked()))
        assert len(provider.asked) == 1, "nobody is asked twice for what cannot help"
        told = f"{refused.value} {refused.value.request_text} {refused.value!r}"
        assert CANARY not in told
        assert KEY not in told
        assert HOST not in refused.value.request_text
        assert text_of(await hear(engine.generate(asked()))) == "a b c d e f"


@pytest.mark.parametrize("plan", ["408", "429", "500", "529"])
async def test_before_the_first_byte_there_is_another_try(
    provider: Provider, tmp_path: Path, plan: str
) -> None:
    provider.plans.extend([plan, plan])
    async with running(provider, tmp_path) as engine:
        assert text_of(await hear(engine.generate(asked()))) == "a b c d e f"
        assert len(provider.asked) == 3
        provider.plans.extend([plan] * 3)
        with pytest.raises(ProviderBusy):
            await hear(engine.generate(asked()))
        assert len(provider.asked) == 6


async def test_a_line_that_broke_before_the_first_byte_is_tried_again(
    openai: Provider, tmp_path: Path
) -> None:
    openai.plans.append("hangs up")
    async with running(openai, tmp_path) as engine:
        assert text_of(await hear(engine.generate(asked()))) == "a b c d e f"
        assert len(openai.asked) == 2


async def test_a_provider_that_refuses_again_and_again_is_left_alone(
    openai: Provider, tmp_path: Path
) -> None:
    openai.plans.extend(["401"] * 3)
    async with running(openai, tmp_path) as engine:
        for _ in range(3):
            assert engine.load().trouble is None
            with pytest.raises(ProviderRefused):
                await hear(engine.generate(asked()))
        assert engine.load().trouble == "the provider refuses; circuit open"
        with pytest.raises(ProviderPaused, match="left alone for 30 s"):
            await hear(engine.generate(asked()))
        assert len(openai.asked) == 3


async def test_a_changed_key_is_read_after_a_refusal(openai: Provider, tmp_path: Path) -> None:
    keys = iter(["first", "second"])
    external = External.model_validate(openai.settings())
    days = Days(tmp_path / "x", model="m", external=external, clock_s=lambda: 0.0)
    engine = HostedEngine(
        model="m",
        external=external,
        days=days,
        key=lambda: Secret(next(keys)),
        peers=Peers(external, find=here),
    )
    openai.plans.append("401")
    await engine.start()
    with pytest.raises(ProviderRefused):
        await hear(engine.generate(asked()))
    await hear(engine.generate(asked()))
    shown = [one.headers["authorization"] for one in openai.heard]
    assert shown == ["Bearer first", "Bearer first", "Bearer second"]
    await engine.stop()


async def test_more_than_may_run_is_refused_at_once(openai: Provider, tmp_path: Path) -> None:
    async with running(openai, tmp_path, max_running=1) as engine:
        first = engine.generate(asked("[loop]", most=10_000_000))
        await anext(first)
        with pytest.raises(Overloaded):
            await hear(engine.generate(asked()))
        await first.aclose()
        assert text_of(await hear(engine.generate(asked()))) == "a b c d e f"


async def test_a_wrong_request_never_leaves_and_costs_nothing(
    provider: Provider, tmp_path: Path
) -> None:
    async with running(provider, tmp_path, requests_per_day=1) as engine:
        odd: list[dict[str, object]] = [{"role": "user", "content": [float("nan")]}]
        for messages in ([], odd, 1):
            body: dict[str, object] = {"messages": messages}
            with pytest.raises(RequestRefused):
                await hear(engine.generate(Prompt("r", "chat", body, 8)))
        with pytest.raises(RequestRefused, match="valid Unicode"):
            await hear(engine.generate(asked("half a pair: \ud83d")))
        with pytest.raises(RequestTooLarge):
            await hear(engine.generate(asked("x" * LIMIT_BYTES)))
        assert provider.asked == []
        assert text_of(await hear(engine.generate(asked()))) == "a b c d e f"


# ── what it may cost ──────────────────────────────────────────────────────────────────


async def test_a_daily_limit_outlives_the_engine(openai: Provider, tmp_path: Path) -> None:
    async with running(openai, tmp_path, requests_per_day=2) as engine:
        await hear(engine.generate(asked()))
    async with running(openai, tmp_path, requests_per_day=2) as engine:
        await hear(engine.generate(asked()))
        with pytest.raises(DailyLimitReached) as reached:
            await hear(engine.generate(asked()))
        assert reached.value.request_text == ("request rejected: daily limit of 2 requests reached")
        assert engine.load().trouble == "daily limit of 2 requests reached"
    assert len(openai.asked) == 2


async def test_what_was_said_of_a_closed_answer_counts(openai: Provider, tmp_path: Path) -> None:
    async with running(openai, tmp_path, tokens_per_day=4) as engine:
        answer, tokens = engine.generate(asked("[loop]", most=10_000_000)), 0
        while tokens < 4:
            piece = await anext(answer)
            tokens += piece.tokens if isinstance(piece, Delta) else 0
        await answer.aclose()
        with pytest.raises(DailyLimitReached):
            await hear(engine.generate(asked()))


async def test_tokens_are_the_providers_own(openai: Provider, tmp_path: Path) -> None:
    async with running(openai, tmp_path, tokens_per_day=16) as engine:
        await hear(engine.generate(asked()))
    counts = json.loads(path_of(tmp_path, "m").read_text())
    assert (counts["requests"], counts["tokens"]) == (1, 15)
    async with running(openai, tmp_path, tokens_per_day=16) as engine:
        await hear(engine.generate(asked()))
        with pytest.raises(DailyLimitReached, match="16 tokens"):
            await hear(engine.generate(asked()))


# ── who it may be ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_key_that_is_not_taken_fails_the_load(
    provider: Provider, tmp_path: Path, status: int
) -> None:
    provider.models_status = status
    engine = engine_of(provider, tmp_path)
    with pytest.raises(ProviderRefused) as refused:
        await engine.start()
    assert refused.value.load_text == "model load failed: provider_refused"
    await engine.stop()


@pytest.mark.parametrize("status", [404, 405, 429, 500])
async def test_a_provider_without_a_list_is_none_the_worse(
    provider: Provider, tmp_path: Path, status: int
) -> None:
    provider.models_status = status
    async with running(provider, tmp_path) as engine:
        assert text_of(await hear(engine.generate(asked()))) == "a b c d e f"


async def test_a_name_that_points_elsewhere_later_is_judged_again(
    openai: Provider, tmp_path: Path
) -> None:
    answers = iter(["127.0.0.1", "169.254.169.254"])

    def find(_host: str, _port: int) -> list[str]:
        return [next(answers)]

    engine = engine_of(openai, tmp_path, find=find, trusted_hosts=("127.0.0.1",))
    await engine.start()
    with pytest.raises(ProviderUnsafe, match="link-local"):
        await hear(engine.generate(asked()))
    assert openai.asked == []
    await engine.stop()


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["10.0.0.1"], ["::1"], ["::ffff:10.0.0.1"]])
async def test_private_addresses_have_to_be_named(
    openai: Provider, tmp_path: Path, addresses: list[str]
) -> None:
    engine = engine_of(openai, tmp_path, find=found(*addresses), trusted_hosts=())
    with pytest.raises(ProviderUnsafe):
        await engine.start()
    assert openai.heard == []
    await engine.stop()


async def test_a_certificate_for_somebody_else_is_not_taken(
    openai: Provider, tmp_path: Path
) -> None:
    url = f"https://other.test:{openai.port}/v1"
    engine = engine_of(openai, tmp_path, base_url=url, trusted_hosts=("other.test",))
    with pytest.raises(ProviderUnreachable, match="no trusted connection"):
        await engine.start()
    assert openai.heard == []
    await engine.stop()


async def test_a_second_address_is_tried(openai: Provider, tmp_path: Path) -> None:
    async with running(openai, tmp_path, find=found("127.0.0.2", "127.0.0.1")) as engine:
        assert text_of(await hear(engine.generate(asked()))) == "a b c d e f"


@pytest.mark.parametrize("find", [found(), found("127.0.0.2")])
async def test_nobody_there(openai: Provider, tmp_path: Path, find: Resolve) -> None:
    engine = engine_of(openai, tmp_path, find=find)
    with pytest.raises(ProviderUnreachable):
        await engine.start()
    await engine.stop()


async def test_a_key_that_is_not_there_fails_the_load(openai: Provider, tmp_path: Path) -> None:
    external = External.model_validate(openai.settings())

    def no_key() -> Secret:
        raise SecretUnusable(source="file k", reason="it is not there")

    days = Days(tmp_path / "x", model="m", external=external, clock_s=lambda: 0.0)
    engine = HostedEngine(model="m", external=external, days=days, key=no_key)
    with pytest.raises(SecretUnusable):
        await engine.start()
    assert openai.heard == []


async def test_nothing_is_answered_before_start(openai: Provider, tmp_path: Path) -> None:
    with pytest.raises(EngineNotRunning):
        await hear(engine_of(openai, tmp_path).generate(asked()))


async def test_it_starts_with_a_word_of_its_cost_or_none(
    provider: Provider, tmp_path: Path
) -> None:
    async with running(provider, tmp_path) as engine:
        first = (await hear(engine.generate(asked())))[0]
        assert isinstance(first, Started)
        assert first.prompt_tokens in ({9} if provider.dialect == "anthropic" else {9, None})
