"""One agent, one model: answers, refusals and nonsense, none of which may disturb it."""

import json
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from openai.types.chat import ChatCompletionToolParam
from world import OTHER, A, World, begun, number, text_of

from poolhand.agent.dev.checkpoint import expected_text
from poolhand.agent.dev.stage import at
from tests.wire.malformed import MALFORMED, REFUSABLE

pytestmark = pytest.mark.e2e

HELLO = expected_text("alpha")
HELLO_TOKENS = 28
REFUSAL = f"model '{OTHER}' not in advertised model list: outside assigned pool 'tiny'"


def test_a_stream_is_the_known_answer_and_is_billed_right(serving: World) -> None:
    chunks = list(serving.stream("Hello!"))
    assert "".join(map(text_of, chunks)) == HELLO
    assert len([chunk for chunk in chunks if text_of(chunk)]) > 1
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.completion_tokens, chunks[-2].choices[0].finish_reason) == (HELLO_TOKENS, "stop")
    assert usage.prompt_tokens > 5
    record = serving.ended()
    assert at(record, "usage", "completion_tokens") == HELLO_TOKENS
    assert [at(record, name) for name in ("accepted", "terminals", "late_frames")] == [1, 1, 0]


def test_heartbeats_tell_a_warm_model_that_runs_and_then_rests(serving: World) -> None:
    stream = serving.stream("[loop]", most=2000)
    begun(stream)
    serving.heard(lambda: at(serving.slot(), "state") == "running", "a heartbeat says running")
    beat = at(serving.provider(), "heartbeat")
    assert at(beat, "status") == "serving"
    assert at(beat, "warm_models") == [A]
    assert at(serving.slot(), "num_running") == 1
    stream.close()
    serving.heard(lambda: at(serving.slot(), "state") == "idle", "a heartbeat says idle")
    assert at(serving.provider(), "heartbeat", "status") == "idle"
    assert at(serving.slot(), "num_running") == 0


def test_a_client_that_hangs_up_frees_the_slot_at_once(serving: World) -> None:
    took_s: list[float] = []
    for _ in range(3):
        stream = serving.stream("[loop]", most=3000)
        begun(stream)
        stream.close()
        record = serving.ended()
        assert at(record, "state") == "cancelled"
        took_s.append(number(record, "ended_s") - number(record, "cancelled_s"))
        assert number(record, "usage", "completion_tokens") < 3000
    assert sorted(took_s)[1] <= 0.25, took_s
    assert serving.answer() == HELLO


def test_a_load_outside_the_pool_is_refused_for_good(serving: World) -> None:
    before = at(serving.agent.status(), "pool", "refusals")
    for times in (1, 2):
        told = serving.load(OTHER)
        assert (told["status"], told["error"]) == ("failed", REFUSAL)
        assert told["class"] == "model_not_found"
        status = serving.agent.status()
        last = at(status, "pool", "last_refusal")
        assert (at(last, "model"), at(last, "code")) == (OTHER, "model_not_in_pool")
        assert (at(last, "words"), at(last, "count")) == (REFUSAL, times)
        assert at(last, "remedy")
        assert number(status, "pool", "refusals") == number(before) + times
    assert OTHER not in str(at(serving.provider(), "register"))
    assert at(serving.stay(A), "state") == "ready"
    assert serving.answer() == HELLO


def test_malformed_frames_leave_it_serving_on_the_same_line(serving: World) -> None:
    before = serving.provider()
    texts = [frame for frame in MALFORMED.values() if isinstance(frame, str)]
    assert len(texts) >= 30
    for frame in texts:
        serving.send(frame)
    for frame in REFUSABLE.values():
        serving.send(frame)
    # frames are read in order: whoever answers this has read all of them
    assert at(serving.post("challenge"), "challenges", 0, "verdict") == "passed"
    strays = number(before, "stray_frames") + len(REFUSABLE)
    serving.heard(lambda: at(serving.provider(), "stray_frames") == strays, "each is refused")
    assert serving.answer() == HELLO
    after = serving.provider()
    assert (at(after, "id"), at(after, "registers")) == (at(before, "id"), 1)
    assert at(after, "stray_frames") == strays
    said = [line for line in serving.log() if line.get("message") == "InferenceError"]
    for frame in REFUSABLE.values():
        request = json.loads(frame)["request_id"]
        told = [line["status_code"] for line in said if line["request_id"] == request]
        assert told == [400], request


# ── the official client ───────────────────────────────────────────────────────────────


def test_an_answer_in_one_piece(serving: World) -> None:
    answer = serving.client().chat.completions.create(
        model=A, messages=[{"role": "user", "content": "Hello!"}]
    )
    assert answer.choices[0].message.content == HELLO
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == HELLO_TOKENS
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + HELLO_TOKENS


def test_parts_of_text_and_a_conversation(serving: World) -> None:
    answer = serving.client().chat.completions.create(
        model=A,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "[loop]"},
            {"role": "assistant", "content": "Tick"},
            {"role": "user", "content": [{"type": "text", "text": "Hello!"}]},
        ],
    )
    assert answer.choices[0].message.content == HELLO


def test_two_at_once(serving: World) -> None:
    with ThreadPoolExecutor(2) as both:
        assert list(both.map(serving.answer, ["Hello!", "[unicode]"])) == [
            HELLO,
            expected_text("alpha", "<|unicode|>"),
        ]


def test_characters_over_several_tokens_come_whole(serving: World) -> None:
    pieces = [text_of(chunk) for chunk in serving.stream("[unicode]")]
    assert "".join(pieces) == expected_text("alpha", "<|unicode|>")
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


def test_a_limit_of_tokens(serving: World) -> None:
    chunks = list(serving.stream("[loop]", most=7))
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 7


def test_stop_words_are_left_out(serving: World) -> None:
    answer = serving.client().chat.completions.create(
        model=A, messages=[{"role": "user", "content": "Hello!"}], stop=[" five"]
    )
    assert answer.choices[0].message.content == HELLO.partition(" five")[0]
    assert answer.choices[0].finish_reason == "stop"


def test_a_thought_comes_apart_from_the_answer(serving: World) -> None:
    answer = serving.client().chat.completions.create(
        model=A, messages=[{"role": "user", "content": "[think]"}]
    )
    message = answer.choices[0].message
    assert message.content == "The answer is 42"
    assert message.model_extra is not None
    assert message.model_extra["reasoning_content"] == "Let me think first"


def test_a_tool_is_called(serving: World) -> None:
    tool: ChatCompletionToolParam = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    answer = serving.client().chat.completions.create(
        model=A, messages=[{"role": "user", "content": "[tool]"}], tools=[tool]
    )
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}


def test_a_text_completion(serving: World) -> None:
    answer = serving.client().completions.create(model=A, prompt="<|say|>", max_tokens=50)
    assert answer.choices[0].text == HELLO


def test_a_prompt_that_is_too_long_is_refused_with_words_of_capacity(serving: World) -> None:
    with pytest.raises(openai.RateLimitError, match="context"):
        serving.answer("word " * 20_000)
    assert at(serving.ended(), "status_code") == 503
    assert serving.answer() == HELLO
