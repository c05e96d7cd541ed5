"""A streaming call to a server that answers, refuses, breaks off or says nothing sensible."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.backends.engines import chat_http
from poolhand.backends.engines.base import Delta, Finished, Piece, Started, Usage
from poolhand.backends.engines.chat_http import LONGEST_S, Refusal, Refused, converse, refusal
from poolhand.backends.engines.chat_pieces import AnswerBroken
from poolhand.backends.engines.http_call import CutOff, Peer

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]
Serve = Callable[[object], AbstractAsyncContextManager[Peer]]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":2}}\n\n'


def said(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def saying(*parts: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()

    return talk


async def hear(peer: Peer) -> list[Piece]:
    return [piece async for piece in converse(peer, "/v1/chat/completions", b"{}")]


async def test_a_stream_becomes_pieces(serve: Serve) -> None:
    stream = said("a") + said("b", "stop") + USAGE + b"data: [DONE]\n\n"
    async with serve(saying(HEAD, b": keepalive\n\n", stream)) as peer:
        pieces = await hear(peer)
    assert isinstance(pieces[0], Started)
    assert "".join(piece.text for piece in pieces if isinstance(piece, Delta)) == "ab"
    assert pieces[-1] == Finished("stop", Usage(2, 2))


async def test_what_follows_the_end_is_not_read(serve: Serve) -> None:
    stream = said("a", "stop") + USAGE + b"data: [DONE]\n\ndata: garbage\n\n"
    async with serve(saying(HEAD, stream)) as peer:
        assert isinstance((await hear(peer))[-1], Finished)


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (HEAD + said("a"), AnswerBroken),
        (HEAD + said("a") + b"data: [DONE]\n\n", AnswerBroken),
        (HEAD + said("a", "stop") + b"data: [DONE]\n\n", AnswerBroken),
        (HEAD + said("a") + b"data: {]\n\n", AnswerBroken),
        (HEAD + b"data: \xff\n\n", AnswerBroken),
        (HEAD + b'data: {"error":{"message":"x"}}\n\n', AnswerBroken),
        (HEAD + b"data: " + b"x" * 2**23 + b"xxx", AnswerBroken),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}", AnswerBroken),
        (HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata", AnswerBroken),
        (HEAD[:-2] + b"Content-Encoding: gzip\r\n\r\n" + said("a", "stop") + USAGE, AnswerBroken),
        (b"", CutOff),
    ],
)
async def test_what_is_not_whole_is_a_failure(
    serve: Serve, stream: bytes, error: type[Exception]
) -> None:
    async with serve(saying(stream)) as peer:
        with pytest.raises(error):
            await hear(peer)


async def test_who_keeps_the_line_open_after_the_last_word_keeps_nobody_waiting(
    serve: Serve,
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + said("a", "stop") + USAGE)
        await reader.read()

    async with serve(talk) as peer, asyncio.timeout(20):
        assert (await hear(peer))[-1] == Finished("stop", Usage(2, 2))


COUNTED = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}],%s}\n\n'
LAST = COUNTED % b'"usage":{"prompt_tokens":2,"completion_tokens":1}'


@pytest.mark.parametrize("keeps_on", [True, False])
async def test_an_answer_that_has_all_is_not_waited_for(serve: Serve, *, keeps_on: bool) -> None:
    """Its reason and its usage came together, and then neither a last word nor the end."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + LAST)
        while keeps_on and not reader.at_eof():
            writer.write(b": I am here\n\n")
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.05)
        await reader.read()

    async with serve(talk) as peer, asyncio.timeout(20):
        assert await hear(peer) == [Started(2), Delta("a", tokens=1), Finished("stop", Usage(2, 1))]


async def test_a_refusal_without_a_type_waits_for_no_word_of_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its status says most; its body may never come."""
    monkeypatch.setattr(chat_http, "PROBLEM_S", 0.1)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n")
        await reader.read()

    async with serve(talk) as peer, asyncio.timeout(10):
        with pytest.raises(Refused) as refused:
            await hear(peer)
    assert refused.value.refusal.status == 503


async def test_what_still_comes_is_heard(serve: Serve) -> None:
    more = b'data: {"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":9}}\n\n'
    async with serve(saying(HEAD, LAST, more)) as peer:
        assert (await hear(peer))[-1] == Finished("stop", Usage(2, 9))


async def test_an_answer_that_has_all_may_be_cut(serve: Serve) -> None:
    head = HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(LAST)
    async with serve(saying(head, LAST, b"\r\n9\r\ndata")) as peer:
        assert (await hear(peer))[-1] == Finished("stop", Usage(2, 1))


def in_one(said: object, kind: bytes = b"application/json; charset=utf-8") -> bytes:
    body = json.dumps(said).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    return head % (kind, len(body)) + body


MESSAGE = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
COUNTS = {"prompt_tokens": 2, "completion_tokens": 1}


async def test_an_answer_in_one_piece_is_an_answer(serve: Serve) -> None:
    async with serve(saying(in_one({"choices": [MESSAGE], "usage": COUNTS}))) as peer:
        pieces = await hear(peer)
    assert pieces == [Started(2), Delta("Hi", tokens=1), Finished("stop", Usage(2, 1))]


async def test_an_answer_that_does_not_say_what_it_is_is_what_it_looks_like(serve: Serve) -> None:
    nothing = b"HTTP/1.1 200 OK\r\n\r\n"
    stream = said("a", "stop") + USAGE
    whole = json.dumps({"choices": [MESSAGE], "usage": COUNTS}).encode()
    for body, finished in (
        (stream, Finished("stop", Usage(2, 2))),
        (b": hello\n\n" + stream, Finished("stop", Usage(2, 2))),
        (b"\n " + whole, Finished("stop", Usage(2, 1))),
    ):
        async with serve(saying(nothing, body[:1], body[1:])) as peer:
            assert (await hear(peer))[-1] == finished
    for odd in (b"<html>", b"", b"{", b"["):
        async with serve(saying(nothing, odd)) as peer:
            with pytest.raises(AnswerBroken):
                await hear(peer)


@pytest.mark.parametrize("tokens", [b"2.0", b"2e0"])
async def test_a_count_with_a_point_is_one(serve: Serve, tokens: bytes) -> None:
    usage = USAGE.replace(b":2", b":" + tokens)
    async with serve(saying(HEAD, said("a", "stop") + usage)) as peer:
        assert (await hear(peer))[-1] == Finished("stop", Usage(2, 2))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (in_one({"choices": [MESSAGE]}), "how many tokens"),
        (in_one({"error": {"message": "canary"}}), "with an error"),
        (in_one("canary"), "no JSON object"),
        (in_one({"choices": [MESSAGE], "usage": COUNTS})[:-9], "before the answer"),
        (in_one({}, b"text/html"), "not answer with a stream"),
        (in_one("x" * 2**23), "longer than"),
    ],
)
async def test_one_that_is_not_whole_is_a_failure(serve: Serve, answer: bytes, words: str) -> None:
    async with serve(saying(answer)) as peer:
        with pytest.raises(AnswerBroken, match=words):
            await hear(peer)


async def test_what_came_with_the_last_word_was_said_although_nobody_counted_it(
    serve: Serve,
) -> None:
    async with serve(saying(HEAD + said("a", "stop") + b"data: [DONE]\n\n")) as peer:
        answer = converse(peer, "/", b"{}")
        assert [await anext(answer), await anext(answer)] == [Started(None), Delta("a", tokens=1)]
        with pytest.raises(AnswerBroken, match="how many tokens"):
            await anext(answer)


def failing(code: object, message: str = "canary") -> bytes:
    error = {"object": "error", "message": message, "type": "BadRequest", "code": code}
    return b"data: " + json.dumps({"error": error}).encode() + b"\n\n"


async def test_a_refusal_in_the_stream_before_a_word_is_one(serve: Serve) -> None:
    long = "The input (5000 tokens) is longer than the model's context length (4096 tokens)."
    for code, words, is_too_long in ((400, long, True), (400, "canary", False), (422, "", False)):
        async with serve(saying(HEAD, failing(code, words), b"data: [DONE]\n\n")) as peer:
            with pytest.raises(Refused) as refused:
                await hear(peer)
        assert refused.value.refusal.status == code
        assert refused.value.refusal.is_too_long is is_too_long
        assert "canary" not in str(refused.value) + repr(refused.value.refusal)


async def test_a_refusal_that_is_not_wrapped_is_one_as_well(serve: Serve) -> None:
    flat = {"object": "error", "message": "canary", "type": "BadRequestError", "code": 400}
    stream = b"data: " + json.dumps(flat).encode() + b"\n\ndata: [DONE]\n\n"
    async with serve(saying(HEAD, stream)) as peer:
        with pytest.raises(Refused, match="status 400"):
            await hear(peer)


@pytest.mark.parametrize(
    "stream",
    [said("a") + failing(400), failing(500), failing("400"), failing(None), failing(200)],
)
async def test_any_other_error_in_the_stream_breaks_the_answer_off(
    serve: Serve, stream: bytes
) -> None:
    async with serve(saying(HEAD, stream)) as peer:
        with pytest.raises(AnswerBroken, match="with an error"):
            await hear(peer)


async def test_closing_the_iterator_hangs_up(serve: Serve) -> None:
    hung_up = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + said("a"))
        await reader.read()
        hung_up.set()

    async with serve(talk) as peer:
        answer = converse(peer, "/", b"{}")
        assert isinstance(await anext(answer), Started)
        await answer.aclose()
        async with asyncio.timeout(20):
            await hung_up.wait()


async def test_a_reader_that_is_away_gets_larger_pieces(serve: Serve) -> None:
    is_said, may_end = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + said("a"))
        await may_end.wait()
        for _ in range(50):
            writer.write(said("b"))
            await writer.drain()
        writer.write(said("", "stop") + USAGE)
        is_said.set()

    async with serve(talk) as peer:
        answer = converse(peer, "/", b"{}")
        await anext(answer)
        may_end.set()
        await is_said.wait()
        rest = [piece async for piece in answer]
    assert len(rest) < 8


async def test_a_refusal_has_its_status_and_none_of_its_words(serve: Serve) -> None:
    problem = json.dumps({"error": {"message": "canary", "type": "x", "code": 400}}).encode()
    head = f"HTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: {len(problem)}\r\n\r\n"
    async with serve(saying(head.encode() + problem)) as peer:
        with pytest.raises(Refused) as refused:
            await hear(peer)
    assert refused.value.refusal == Refusal(429, 7.0)
    assert "canary" not in str(refused.value) + repr(refused.value.refusal)


async def test_a_redirect_is_a_refusal(serve: Serve) -> None:
    head = b"HTTP/1.1 307 Go\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n"
    async with serve(saying(head)) as peer:
        with pytest.raises(Refused, match="307"):
            await hear(peer)


async def test_a_refusal_that_is_cut_or_endless_is_a_refusal(serve: Serve) -> None:
    for length in (10, 2**30):
        head = f"HTTP/1.1 400 No\r\nContent-Length: {length}\r\n\r\n".encode()
        async with serve(saying(head, b"x" * min(length - 1, 2**17))) as peer:
            with pytest.raises(Refused, match="400"):
                await hear(peer)


async def test_the_kind_of_an_answer_is_named_in_any_case(serve: Serve) -> None:
    head = HEAD.replace(b"text/event-stream", b"Text/Event-Stream; charset=UTF-8")
    blank = b"data: \n\n"
    async with serve(saying(head + blank + said("a", "stop") + blank + USAGE)) as peer:
        assert isinstance((await hear(peer))[-1], Finished)


async def test_events_that_keep_the_line_open_say_nothing(serve: Serve) -> None:
    ping = b"event: ping\r\ndata: 2026-11-22 13:00:00.000001\r\n\r\n"
    async with serve(saying(HEAD, ping + said("a", "stop") + ping + USAGE)) as peer:
        pieces = await hear(peer)
    assert [type(piece) for piece in pieces] == [Started, Delta, Finished]


async def test_comments_are_no_sign_of_an_answer(serve: Serve) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        while True:
            writer.write(b": I am still here\n\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serve(talk) as peer, asyncio.timeout(20):
        with pytest.raises(AnswerBroken, match="nothing was said"):
            _ = [piece async for piece in converse(peer, "/", b"{}", silence_s=0.1)]


@pytest.mark.parametrize(
    ("body", "prompt", "context"),
    [
        # llama.cpp
        (
            {
                "error": {
                    "code": 400,
                    "type": "exceed_context_size_error",
                    "message": "request (513 tokens) exceeds the available context size "
                    "(512 tokens), try increasing it",
                    "n_prompt_tokens": 513,
                    "n_ctx": 512,
                }
            },
            513,
            512,
        ),
        # vLLM
        (
            {
                "error": {
                    "message": "This model's maximum context length is 4096 tokens. However, you "
                    "requested 5010 tokens (5000 in the messages, 10 in the completion).",
                    "type": "BadRequestError",
                    "code": 400,
                }
            },
            5000,
            4096,
        ),
        # SGLang
        (
            {
                "object": "error",
                "message": "The input (5000 tokens) is longer than the model's context length "
                "(4096 tokens).",
                "code": 400,
            },
            5000,
            4096,
        ),
        # Anthropic
        (
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "prompt is too long: 208310 tokens > 200000 maximum",
                },
            },
            208310,
            200000,
        ),
        ({"error": {"code": "context_length_exceeded", "message": "?"}}, None, None),
    ],
)
def test_a_prompt_that_is_too_long_is_known_by_every_name(
    body: object, prompt: int | None, context: int | None
) -> None:
    told = refusal(400, {}, json.dumps(body).encode())
    assert told == Refusal(
        400, None, is_too_long=True, prompt_tokens=prompt, context_tokens=context
    )


NOW, SOON = "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:29:30 GMT"
NOW_S = 1792567680


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "9", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": SOON, "date": NOW}, 90.0),
        ({"retry-after": NOW, "date": SOON}, 0.0),
        ({"retry-after": SOON}, 190.0),
        ({"retry-after": "Fri, 21 Oct 2526 07:28:00 GMT", "date": NOW}, LONGEST_S),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 40}, LONGEST_S),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_a_wait_is_a_number_of_seconds(headers: dict[str, str], wait_s: float | None) -> None:
    told = refusal(503, headers, b"", unix_s=NOW_S - 100)
    assert told.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (500, "image input is not supported - hint: you may need to provide the mmproj"),
        (500, 'Failed to parse messages: Unsupported content part type: "image_url"'),
        (400, "org/model is not a multimodal model"),
        (400, "this model does not support image input"),
        (404, "No endpoints found that support image input"),
    ],
)
def test_a_model_that_sees_nothing_is_known_by_every_sentence(status: int, message: str) -> None:
    body = json.dumps({"error": {"code": status, "message": message, "type": "server_error"}})
    assert refusal(status, {}, body.encode()).sees_nothing
    assert not refusal(429, {}, body.encode()).sees_nothing
    assert not refusal(status, {}, b'{"error": {"message": "an image of an error"}}').sees_nothing


@given(st.binary(max_size=60) | st.recursive(st.text(), st.lists).map(json.dumps).map(str.encode))
@settings(max_examples=100)
def test_no_refusal_makes_its_reader_fall(body: bytes) -> None:
    told = refusal(400, {}, body)
    assert told.status == 400
    assert refusal(400, {}, b'{"error":' + body + b"}").status == 400


def test_what_sorts_a_refusal_is_kept_for_comparing_and_shown_nowhere() -> None:
    body = {"error": {"type": "some_error", "code": "a_code", "param": "messages", "message": "x"}}
    told = refusal(400, {"x-should-retry": "false"}, json.dumps(body).encode())
    assert {"some_error", "a_code", "messages"} <= told.kinds
    assert told.should_retry is False
    assert "some_error" not in repr(told)


@pytest.mark.parametrize(
    "error",
    [
        {"type": "insufficient_quota", "message": "You exceeded your current quota"},
        {"type": "billing_error", "message": "x"},
        {"type": "invalid_request_error", "message": "Your credit balance is too low"},
    ],
)
def test_an_account_with_nothing_left_is_no_wrong_request(error: object) -> None:
    assert refusal(400, {}, json.dumps({"error": error}).encode()).is_unpaid
