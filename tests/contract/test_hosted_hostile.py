"""A provider that is broken or hostile: one end each, the right one, and the next answer works.

What it says goes byte for byte over a real TLS line.
"""

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from providers import CANARY, HOST, KEY, certificate, here

from poolhand.backends.engines.base import Delta, Finished, Piece, Prompt
from poolhand.backends.engines.hosted import HostedEngine
from poolhand.backends.engines.hosted_days import Days
from poolhand.backends.engines.hosted_peer import Peers
from poolhand.config.errors import AgentError
from poolhand.config.external import External
from poolhand.config.secrets import Secret

Json = Mapping[str, object]

OK = b"HTTP/1.1 200 OK\r\n"
STREAM = OK + b"Content-Type: text/event-stream\r\n"
HEAD = STREAM + b"\r\n"
CHUNKED = STREAM + b"Transfer-Encoding: chunked\r\n\r\n"
COUNTS = {"prompt_tokens": 3, "completion_tokens": 2}


def choice(delta: object, reason: object = None, **more: object) -> Json:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more}


def call(index: int | None, name_id: str, name: str, arguments: str) -> Json:
    part: dict[str, object] = {"id": name_id, "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [part if index is None else {**part, "index": index}]}


def told(*events: object, line: str = "\n") -> bytes:
    said = (one if isinstance(one, str) else json.dumps(one) for one in events)
    return "".join(f"data: {one}{line}{line}" for one in said).encode()


def chunked(data: bytes, size: int = 7) -> bytes:
    cut = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in cut) + b"0\r\n\r\n"


def refused(status: int, headers: str = "", length: int = 0) -> bytes:
    words = f'{{"error":{{"message":"{CANARY} {KEY} {"x" * length}"}}}}'
    return f"HTTP/1.1 {status} No\r\n{headers}Content-Length: {len(words)}\r\n\r\n{words}".encode()


SAID: Sequence[object] = [
    choice({"role": "assistant"}),
    choice({"content": "hé "}),
    choice({"content": "b😀"}),
]
END: Sequence[object] = [choice({}, "stop"), {"choices": [], "usage": COUNTS}, "[DONE]"]
CALLED: Sequence[object] = [choice({}, "tool_calls", usage=COUNTS), "[DONE]"]
OTHER = {"choices": [{"index": 1, "delta": {"content": CANARY}, "finish_reason": "stop"}]}

WHOLE: Mapping[str, tuple[bytes, str]] = {
    "CRLF": (HEAD + told(*SAID, *END, line="\r\n"), "hé b😀"),
    "CR": (HEAD + told(*SAID, *END, line="\r"), "hé b😀"),
    "cut at every byte": (CHUNKED + chunked(told(*SAID, *END, line="\r\n"), 1), "hé b😀"),
    "HTTP/1.0": (HEAD.replace(b"1.1", b"1.0") + told(*SAID, *END), "hé b😀"),
    "no space after the colon": (HEAD + told(*SAID, *END).replace(b": ", b":"), "hé b😀"),
    "comments, ids, blank data": (
        HEAD + b": hi\n\nid: 1\nretry: 5\n\ndata: \n\ndata\n\n" + told(*SAID, *END),
        "hé b😀",
    ),
    "no DONE": (HEAD + told(*SAID, *END[:-1]), "hé b😀"),
    "a spaced DONE and more behind it": (
        HEAD + told(*SAID, *END[:-1], " [DONE] ", choice({"content": CANARY})),
        "hé b😀",
    ),
    "interim answers": (b"HTTP/1.1 103 Early\r\n\r\n" + HEAD + told(*SAID, *END), "hé b😀"),
    "reasons that are no reasons": (
        HEAD + told(choice({"content": "a"}, ""), choice({"content": "b"}, ""), *END),
        "ab",
    ),
    "other answers": (HEAD + told(*SAID, OTHER, *END), "hé b😀"),
    "odd choices": (HEAD + told({"choices": None}, {"choices": [7]}, *SAID, *END), "hé b😀"),
    "a refusal in words": (HEAD + told(choice({"refusal": "I cannot"}), *END), "I cannot"),
    "content in parts": (
        HEAD + told(choice({"content": [{"type": "text", "text": "hi"}, 7]}), *END),
        "hi",
    ),
    "calls side by side": (
        HEAD
        + told(
            choice(call(0, "a", "f", '{"x"')),
            choice(call(1, "b", "g", "{")),
            choice({"tool_calls": [{"index": 1, "function": {"arguments": "}"}}]}),
            choice({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
            *CALLED,
        ),
        'f{"x":1} g{}',
    ),
    "calls without numbers": (
        HEAD
        + told(choice(call(None, "a", "f", "{}")), choice(call(None, "b", "g", "{}")), *CALLED),
        "f{} g{}",
    ),
}

BROKEN: Mapping[str, tuple[bytes, str]] = {
    "chunks that are none": (CHUNKED + b"zz\r\nhello\r\n", "provider_broke"),
    "a chunk that is cut": (CHUNKED + chunked(told(*SAID))[:150], "provider_broke"),
    "nothing after its head": (HEAD, "provider_broke"),
    "shorter than promised": (
        STREAM + b"Content-Length: 9999\r\n\r\n" + told(*SAID),
        "provider_broke",
    ),
    "gzip": (
        STREAM + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(told(*SAID, *END)),
        "provider_broke",
    ),
    "a page": (OK + b"Content-Type: text/html\r\n\r\n<html>" + CANARY.encode(), "provider_broke"),
    "an event without end": (HEAD + b"data: " + b"x" * (2**23 + 2**16), "provider_broke"),
    "no UTF-8": (HEAD + told(SAID[0]) + b'data: {"x":"\xff"}\n\n', "provider_broke"),
    "a nest": (HEAD + told("[" * 100_000), "provider_broke"),
    "an error amid": (HEAD + told(*SAID, {"error": {"message": CANARY}}), "provider_broke"),
    "too busy to begin": (
        HEAD + told(SAID[0], {"error": {"code": 529, "message": CANARY}}),
        "provider_busy",
    ),
    "no usage": (HEAD + told(*SAID, END[0], END[2]), "provider_broke"),
    "usage below zero": (
        HEAD + told(*SAID, END[0], {"usage": {"prompt_tokens": -1, "completion_tokens": -2}}),
        "provider_broke",
    ),
    "usage beyond counting": (
        HEAD + told(*SAID, END[0], {"usage": {"prompt_tokens": 3, "completion_tokens": 2**63}}),
        "provider_broke",
    ),
    "a reason nobody knows": (HEAD + told(*SAID, choice({}, "because")), "provider_broke"),
    "a refusal that is cut": (refused(401)[:-9], "provider_refused"),
    "a refusal that is long": (refused(400, length=200_000), "request_refused"),
    "a redirect": (refused(302, "Location: http://169.254.169.254/\r\n"), "provider_refused"),
    "in an hour": (
        refused(429, "Retry-After: Wed, 21 Oct 2099 07:28:00 GMT\r\n"),
        "provider_busy",
    ),
    "in an age": (refused(429, f"Retry-After: {'9' * 30}\r\n"), "provider_busy"),
}


def message(*events: Json, **usage: int) -> bytes:
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 3, **usage}}}
    delta = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}
    end = {**delta, "usage": {"output_tokens": 2}}
    return HEAD + told(start, *events, end, {"type": "message_stop"})


def block(nth: int, kind: str, **fields: object) -> Json:
    return {"type": f"content_block_{kind}", "index": nth, **fields}


def use(nth: int, name: str) -> Json:
    return block(nth, "start", content_block={"type": "tool_use", "id": name, "name": name})


def more(nth: int, words: str) -> Json:
    return block(nth, "delta", delta={"type": "input_json_delta", "partial_json": words})


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": CANARY}}
TEXT = block(0, "delta", delta={"type": "text_delta", "text": "a"})

MESSAGES: Mapping[str, tuple[bytes, str]] = {
    "pings and news": (
        message({"type": "ping"}, {"type": "news"}, TEXT, block(0, "delta", delta={"type": "x"})),
        "a",
    ),
    "calls side by side": (
        message(use(0, "f"), use(1, "g"), more(1, "{}"), more(0, '{"x":1}'), block(1, "stop")),
        'g{} f{"x":1}',
    ),
    "overloaded at once": (HEAD + told(OVERLOADED), "provider_busy"),
    "overloaded amid": (message(TEXT, OVERLOADED), "provider_broke"),
    "counts beyond counting": (message(TEXT, input_tokens=2**63), "provider_broke"),
}


class Hostile:
    """Says ``plan`` to the first request for an answer, and what is proper to all others."""

    def __init__(self, proper: bytes) -> None:
        self.proper = proper
        self.plan = b""
        self.asked = 0

    async def line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET"):
                writer.write(refused(404))
            else:
                self.asked += 1
                writer.write(self.plan or self.proper)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except OSError:
            writer.transport.abort()


@asynccontextmanager
async def against(
    dialect: str, proper: bytes, folder: Path
) -> AsyncGenerator[tuple[Hostile, HostedEngine]]:
    certificate_file, key_file = certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    hostile = Hostile(proper)
    server = await asyncio.start_server(hostile.line, "127.0.0.1", 0, ssl=context)
    external = External.model_validate(
        {
            "dialect": dialect,
            "base_url": f"https://{HOST}:{server.sockets[0].getsockname()[1]}/v1",
            "ca_file": certificate_file,
            "trusted_hosts": (HOST,),
            "stall_timeout_s": 20.0,
        }
    )
    days = Days(folder / "day", model="m", external=external, clock_s=lambda: 0.0)
    engine = HostedEngine(
        model="m",
        external=external,
        days=days,
        key=lambda: Secret(KEY),
        peers=Peers(external, find=here),
    )
    await engine.start()
    try:
        yield hostile, engine
    finally:
        await engine.stop()
        server.close()
        await server.wait_closed()


async def end_of(engine: HostedEngine) -> str:
    """What was said, or the code it ended with; nothing secret is in any of its words."""
    body = {"messages": [{"role": "user", "content": "hi"}]}
    pieces: list[Piece] = []
    try:
        pieces += [piece async for piece in engine.generate(Prompt("r", "chat", body, 64))]
    except AgentError as error:
        shown = f"{error} {error!r} {error.request_text} {error.wire_status}"
        assert CANARY not in shown
        assert KEY not in shown
        assert not any(isinstance(piece, Finished) for piece in pieces)
        return error.code
    assert [type(piece) for piece in pieces].count(Finished) == 1
    assert isinstance(pieces[-1], Finished)
    return said(pieces)


def said(pieces: Sequence[Piece]) -> str:
    deltas = [piece for piece in pieces if isinstance(piece, Delta)]
    calls = (f"{one.name}{one.arguments}" for delta in deltas for one in delta.tool_calls)
    return "".join(delta.text for delta in deltas) + " ".join(calls)


async def check(dialect: str, proper: bytes, plan: bytes, expected: str, folder: Path) -> None:
    async with against(dialect, proper, folder) as (hostile, engine):
        hostile.plan = plan
        assert await end_of(engine) == expected
        assert hostile.asked == 1, "nothing of it is worth another try"
        assert engine.load().running == 0
        hostile.plan = b""
        assert await end_of(engine) not in {"", expected} or plan == proper


PROPER = HEAD + told(*SAID, choice({"content": "!"}), *END)


@pytest.mark.parametrize("name", [*WHOLE, *BROKEN])
async def test_openai(name: str, tmp_path: Path) -> None:
    plan, expected = {**WHOLE, **BROKEN}[name]
    await check("openai", PROPER, plan, expected, tmp_path)


@pytest.mark.parametrize("name", [*MESSAGES])
async def test_anthropic(name: str, tmp_path: Path) -> None:
    plan, expected = MESSAGES[name]
    await check("anthropic", message(TEXT, TEXT), plan, expected, tmp_path)
