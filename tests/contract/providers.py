"""Providers as real HTTPS servers: OpenAI, Azure and Anthropic as their pages say, and faults.

A provider answers each request by the next of its ``plans``; without one it answers properly:
the last message's words again, one word a token, endlessly for ``[loop]``; for ``[tool]`` it calls
each tool that it was given, in pieces. Its certificate is
for ``provider.test``, which no resolver knows, so that whoever asks has to be told its address,
and for 127.0.0.1.
"""

import asyncio
import datetime as dt
import json
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, cast

import h11
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "provider.test"
KEY = "sk-canary-8472"
CANARY = "canary-in-an-error"
FAULT_AT = 3
"""The event at which an answer goes wrong; something was said before it."""

PIECES = ("", '{"city": ', '"Par', 'is"}')
"""The arguments of every call, as they come."""

Json = Mapping[str, object]
Dialect = Literal["openai", "anthropic", "azure"]

NAMES = [x509.DNSName(HOST), x509.IPAddress(ip_address("127.0.0.1"))]

STATUSES: Mapping[str, tuple[int, Mapping[str, str], Json]] = {
    "400": (400, {}, {"error": {"type": "invalid_request_error", "param": "temperature",
            "message": CANARY}}),
    "too long": (400, {}, {"type": "error", "error": {"type": "invalid_request_error",
            "message": f"prompt is too long: 208310 tokens > 200000 maximum {CANARY}"}}),
    "filtered": (400, {}, {"error": {"code": "content_filter", "message": CANARY}}),
    "401": (401, {}, {"error": {"type": "authentication_error", "message": f"{CANARY} {KEY}"}}),
    "403": (403, {}, {"error": {"message": CANARY}}),
    "404": (404, {}, {"error": {"code": "model_not_found", "message": CANARY}}),
    "408": (408, {"retry-after-ms": "10"}, {"error": CANARY}),
    "413": (413, {}, {"error": {"type": "request_too_large", "message": CANARY}}),
    "429": (429, {"retry-after-ms": "10"}, {"error": {"type": "rate_limit_error"}}),
    "429 later": (429, {"retry-after": "70"}, {"error": {"type": "rate_limit_error"}}),
    "429 unpaid": (429, {}, {"error": {"type": "insufficient_quota", "message": CANARY}}),
    "500": (500, {"retry-after-ms": "10"}, {"error": {"message": CANARY}}),
    "500 final": (500, {"x-should-retry": "false"}, {"error": {"message": CANARY}}),
    "529": (529, {"retry-after-ms": "10"}, {"type": "error", "error": {"type": "overloaded_error",
            "message": CANARY}}),
    "redirect": (307, {"location": "https://169.254.169.254/"}, {"error": CANARY}),
}  # fmt: skip
"""Refusals by plan."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One request, as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: Json


@dataclass(slots=True)
class Provider:
    """One provider, as long as it is served.

    Attributes:
        plans: What the next requests get; see :data:`STATUSES` and :meth:`_stream`.
        heard: Every request, in order.
        open_lines: Connections that are open now.
    """

    dialect: Dialect
    ca_file: str = ""
    port: int = 0
    models_status: int = 200
    plans: deque[str] = field(default_factory=deque[str])
    heard: list[Heard] = field(default_factory=list[Heard])
    open_lines: int = 0
    _writers: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter])
    _is_over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def asked(self) -> list[Heard]:
        """The requests for answers."""
        return [one for one in self.heard if one.method == "POST"]

    def settings(self, **more: object) -> dict[str, object]:
        """``[models.external]`` of a node that asks it."""
        path = {"openai": "/v1", "anthropic": "", "azure": ""}[self.dialect]
        return {
            "dialect": self.dialect,
            "base_url": f"https://{HOST}:{self.port}{path}",
            "model": "their-model",
            "ca_file": self.ca_file,
            "trusted_hosts": (HOST,),
            "stall_timeout_s": 20.0,
            **more,
        }

    async def line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: one request, one answer."""
        self.open_lines += 1
        self._writers.append(writer)
        try:
            await self._serve(reader, writer)
        except (OSError, h11.RemoteProtocolError):
            pass
        finally:
            writer.transport.abort()
            self._writers.remove(writer)
            self.open_lines -= 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http, raw, request = h11.Connection(h11.SERVER), bytearray(), None
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(2**16))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                raw += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return
        assert request is not None
        headers = {name.decode(): value.decode() for name, value in request.headers}
        body = cast("Json", json.loads(raw or "{}"))
        asked = Heard(request.method.decode(), request.target.decode(), headers, body)
        self.heard.append(asked)
        answer = _Out(http, writer)
        if asked.method == "GET":
            await answer.whole(self.models_status, {}, {"data": [], "error": {"message": CANARY}})
            return
        plan = self.plans.popleft() if self.plans else "steady"
        if plan in STATUSES:
            await answer.whole(*STATUSES[plan])
        else:
            await self._stream(plan, asked, answer)

    async def _stream(self, plan: str, asked: Heard, answer: "_Out") -> None:
        """Answer with a stream, whole or in one of the ways in which streams end."""
        if plan == "silent":
            await self._is_over.wait()
        if plan in {"silent", "hangs up"}:
            return
        if plan == "json":
            await answer.whole(200, {}, {"choices": []})
            return
        await answer.head(200, {"content-type": "text/event-stream; charset=utf-8"})
        said = anthropic(asked.body) if self.dialect == "anthropic" else openai(asked.body)
        for nth, (name, data) in enumerate(said):
            if nth == FAULT_AT and plan == "stalls":
                await self._is_over.wait()
            if nth == FAULT_AT and plan in {"cut", "stalls"}:
                return
            text = _faulty(plan, nth, data)
            if not text:
                break
            if plan == "pings":
                ping = 'event: ping\ndata: {"type": "ping"}\n\n'
                await answer.more(": keep-alive\n\n" + ping * (self.dialect == "anthropic"))
            event = f"event: {name}\r\n" if name else ""
            await answer.more(f"{event}data: {text}\r\n\r\n")
        await answer.end()

    async def close(self) -> None:
        """End every line, and wait for whoever serves it."""
        self._is_over.set()
        for writer in self._writers:
            writer.transport.abort()
        while self.open_lines:  # noqa: ASYNC110 - a count has no event
            await asyncio.sleep(0.001)


def _faulty(plan: str, nth: int, data: Json | str) -> str:
    """One event's text, as the plan has it; empty where the stream ends before it."""
    if nth == FAULT_AT and plan == "garbage":
        return "{" + CANARY
    if nth == FAULT_AT and plan == "error":
        inner = {"type": "overloaded_error", "message": CANARY}
        return json.dumps({"type": "error", "error": inner})
    if plan in {"no reason", "no usage", "no end"} and _ends(data):
        return _without(plan, data)
    return data if isinstance(data, str) else json.dumps(data)


def openai(body: Json) -> Iterator[tuple[str, Json | str]]:
    """The chunks of an answer, as OpenAI and Azure send them; Azure's first has no choice."""
    is_chat = "messages" in body
    kind = "chat.completion.chunk" if is_chat else "text_completion"
    head = {"id": "c-1", "object": kind, "created": 1, "model": "their-model-2026"}
    most = int(str(body.get("max_completion_tokens") or body.get("max_tokens")))
    words = _words(body)
    yield "", {**head, "choices": [], "prompt_filter_results": []}
    if is_chat:
        yield "", {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    told, names = 0, _called(body)
    for word in _said([] if names else words, most):
        told += 1
        said = {"delta": {"content": word}} if is_chat else {"text": word}
        yield "", {**head, "choices": [{"index": 0, **said, "finish_reason": None}]}
    for nth, name in enumerate(names):
        first = {"id": f"call_{nth}", "type": "function", "function": {"name": name}}
        for part in (first, *({"function": {"arguments": piece}} for piece in PIECES)):
            told += 1
            delta: Json = {"delta": {"tool_calls": [{"index": nth, **part}]}}
            yield "", {**head, "choices": [{"index": 0, **delta, "finish_reason": None}]}
    reason = "tool_calls" if names else "length" if told == most else "stop"
    last: Json = {"delta": {}} if is_chat else {"text": ""}
    yield "", {**head, "choices": [{"index": 0, **last, "finish_reason": reason}]}
    usage = {"prompt_tokens": len(words) + 3, "completion_tokens": told}
    yield "", {**head, "choices": [], "usage": usage}
    yield "", "[DONE]"


def anthropic(body: Json) -> Iterator[tuple[str, Json | str]]:
    """The events of a message, as Anthropic sends them."""
    most, words = int(str(body["max_tokens"])), _words(body)
    counts = {"input_tokens": len(words) + 3, "output_tokens": 1}
    message: Json = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "their-model-2026",
        "content": [], "stop_reason": None, "stop_sequence": None, "usage": counts,
    }  # fmt: skip
    yield "message_start", {"type": "message_start", "message": message}
    start = {"type": "content_block_start", "index": 0}
    yield "content_block_start", {**start, "content_block": {"type": "text", "text": ""}}
    yield "ping", {"type": "ping"}
    told, names, name = 0, _called(body), "content_block_delta"
    for word in _said([] if names else words, most):
        told += 1
        delta = {"type": "text_delta", "text": word}
        yield name, {"type": name, "index": 0, "delta": delta}
    yield "content_block_stop", {"type": "content_block_stop", "index": 0}
    for nth, tool in enumerate(names, 1):
        use: Json = {"type": "tool_use", "id": f"toolu_{nth}", "name": tool, "input": {}}
        yield "content_block_start", {**start, "index": nth, "content_block": use}
        for piece in PIECES:
            told += 1
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield name, {"type": name, "index": nth, "delta": delta}
        yield "content_block_stop", {"type": "content_block_stop", "index": nth}
    reason = "tool_use" if names else "max_tokens" if told == most else "end_turn"
    delta = {"stop_reason": reason, "stop_sequence": None}
    usage = {"output_tokens": told}
    yield "message_delta", {"type": "message_delta", "delta": delta, "usage": usage}
    yield "message_stop", {"type": "message_stop"}


def _words(body: Json) -> list[str]:
    if "prompt" in body:
        return str(body["prompt"]).split()
    content = cast("list[Json]", body["messages"])[-1]["content"]
    if isinstance(content, list):
        content = cast("list[Json]", content)[-1].get("text", "")
    return str(content).split()


def _called(body: Json) -> list[str]:
    """Whom an answer calls: tools of either dialect, if it was asked to."""
    tools = cast("list[Json]", body.get("tools") or ())
    named = [cast("Json", tool.get("function", tool))["name"] for tool in tools]
    return [str(name) for name in named] if _words(body)[:1] == ["[tool]"] else []


def _said(words: list[str], most: int) -> Iterator[str]:
    is_loop, told = words[:1] == ["[loop]"], 0
    while told < most and (is_loop or told < len(words)):
        yield (" " if told else "") + words[told % len(words)]
        told += 1


def _ends(data: Json | str) -> bool:
    if isinstance(data, str):
        return True
    choices = cast("list[Json]", data.get("choices") or [{}])
    is_last = data.get("type") in {"message_delta", "message_stop"} or "usage" in data
    return is_last or bool(choices[0].get("finish_reason"))


def _without(plan: str, data: Json | str) -> str:
    """The end of an answer with one thing missing; empty where the stream ends before it."""
    if plan == "no end" or isinstance(data, str):
        return "" if plan == "no end" else "[DONE]"
    left: dict[str, object] = dict(data)
    if plan == "no usage":
        left["usage"] = {}
    elif left.get("type") == "message_delta":
        left["delta"] = {}
    elif left.get("choices"):
        left["choices"] = [{"index": 0, "delta": {}, "text": ""}]
    return json.dumps(left)


class _Out:
    """An answer on its way out."""

    def __init__(self, http: h11.Connection, writer: asyncio.StreamWriter) -> None:
        self._http = http
        self._writer = writer

    async def head(self, status: int, headers: Mapping[str, str]) -> None:
        event = h11.Response(status_code=status, headers=list(headers.items()))
        await self._out(event)

    async def more(self, text: str) -> None:
        await self._out(h11.Data(data=text.encode()))
        await asyncio.sleep(0)  # whoever reads may be in the same loop

    async def end(self) -> None:
        await self._out(h11.EndOfMessage())

    async def whole(self, status: int, headers: Mapping[str, str], body: Json) -> None:
        await self.head(status, {"content-type": "application/json", **headers})
        await self.more(json.dumps(body))
        await self.end()

    async def _out(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()


def certificate(folder: Path) -> tuple[str, str]:
    """A certificate for :data:`HOST`, signed by itself, and its key; both as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(NAMES), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(certificate_file), str(key_file)


@asynccontextmanager
async def provided(dialect: Dialect, folder: Path) -> AsyncGenerator[Provider]:
    """A provider on loopback; gone at the end, with every line to it."""
    certificate_file, key_file = certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    provider = Provider(dialect, certificate_file)
    server = await asyncio.start_server(provider.line, "127.0.0.1", 0, ssl=context)
    provider.port = int(server.sockets[0].getsockname()[1])
    try:
        yield provider
    finally:
        server.close()
        await provider.close()
        await server.wait_closed()


def here(_host: str, _port: int) -> list[str]:
    """What a resolver says that knows :data:`HOST`."""
    return ["127.0.0.1"]
