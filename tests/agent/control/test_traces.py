"""Traces at a real collector: whole, in order, with a key, and never in anybody's way."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent

from poolhand.agent.control import traces as room
from poolhand.agent.control.spans import Span, Spans
from poolhand.agent.control.traces import MOST_WAITING, Traces
from poolhand.backends.engines.echo import EchoEngine
from poolhand.config.telemetry import Telemetry

sys.path.insert(0, str(Path(__file__).parent))

from collector import collecting, facts
from local_world import CANARY, MODEL, served

KEY = "key-of-the-collector-77"


def request(number: int = 0, *, parent: str = "", error: str = "") -> Span:
    """A request's trace, from second 10 to second 12."""
    queue = Span("queue", 10.0, 10.5)
    answer = Span("answer", 10.5, 12.0, {"completion_tokens": 7}, {"first_token": 11.0})
    named = {"model": "org/a", "request_id": f"r{number}"}
    return Span("request", 10.0, 12.0, {**named}, {}, [queue, answer], error, parent)


class Diary:
    """What was noted."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, words: str, **said: object) -> None:
        self.lines.append(f"{words} {said}")

    async def said(self, words: str) -> None:
        for _ in range(3000):
            if any(words in line for line in self.lines):
                return
            await asyncio.sleep(0.01)
        pytest.fail(str(self.lines))


@asynccontextmanager
async def sending(diary: Diary, settings: Telemetry, **environ: str) -> AsyncGenerator[Traces]:
    made = Traces(settings, environ, note=diary.note, clock_s=lambda: 100.0)
    keeps = asyncio.ensure_future(made.keep())
    try:
        yield made
    finally:
        keeps.cancel()
        with suppress(asyncio.CancelledError):
            await keeps


async def until(made: Traces, **wanted: object) -> None:
    for _ in range(3000):
        if all(made.facts()[name] == value for name, value in wanted.items()):
            return
        await asyncio.sleep(0.01)
    pytest.fail(str(made.facts()))


def named(spans: list[Sent]) -> dict[str, Sent]:
    return {span.name: span for span in spans}


async def test_a_trace_arrives_whole_with_its_times_and_its_key(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(KEY + "\n")
    key.chmod(0o600)
    diary = Diary()
    with collecting() as collector:
        settings = Telemetry(
            traces=True,
            endpoint=f"http://127.0.0.1:{collector.port}",
            key_file=str(key),
            service_name="node-1",
        )
        async with sending(diary, settings) as made:
            made.give(request(error="engine_died"))  # before the library is there
            spans = named(await asyncio.to_thread(collector.wait, 3))
            await until(made, state="sending", sent=3, failed=0, dropped=0)
        assert collector.paths[0] == "/v1/traces"
        assert collector.headers[0]["authorization"] == f"Bearer {KEY}"
        resource = collector.batches[0].resource_spans[0].resource
        about = {each.key: each.value.string_value for each in resource.attributes}
        assert about["service.name"] == "node-1"
        root, queue, answer = spans["request"], spans["queue"], spans["answer"]
        assert not root.parent_span_id
        assert queue.parent_span_id == answer.parent_span_id == root.span_id
        assert {span.trace_id for span in spans.values()} == {root.trace_id}
        assert facts(root)["poolhand.model"] == "org/a"
        assert facts(root)["poolhand.request.id"] == "r0"
        assert facts(answer)["gen_ai.usage.output_tokens"] == 7
        assert (root.status.code, root.status.message) == (2, "engine_died")
        assert abs(root.end_time_unix_nano - root.start_time_unix_nano - 2e9) < 1e4
        assert abs(time.time_ns() - root.end_time_unix_nano - 88e9) < 60e9, "88 s ago on its clock"
        (first,) = answer.events
        assert first.name == "first_token"
        assert abs(first.time_unix_nano - answer.start_time_unix_nano - 5e8) < 1e4
    assert KEY not in str(diary.lines) + repr(made.facts()) + repr(settings)


async def test_the_environment_of_opentelemetry_is_honoured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with collecting() as collector:
        base = f"http://127.0.0.1:{collector.port}/base"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", base)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=mine")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        async with sending(Diary(), Telemetry(traces=True), OTEL_SERVICE_NAME="named") as made:
            made.give(request())
            await asyncio.to_thread(collector.wait, 3)
        assert collector.paths[0] == "/base/v1/traces"
        assert collector.headers[0]["x-tenant"] == "mine"
        assert collector.headers[0]["content-encoding"] == "gzip"
        resource = collector.batches[0].resource_spans[0].resource
        about = {each.key: each.value.string_value for each in resource.attributes}
        assert about["service.name"] == "named"


async def test_a_caller_s_trace_is_gone_on_with_and_its_choice_kept() -> None:
    trace, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with collecting() as collector:
        settings = Telemetry(
            traces=True, endpoint=f"http://127.0.0.1:{collector.port}", sample_ratio=0.0
        )
        async with sending(Diary(), settings) as made:
            await until(made, state="sending")
            made.give(request(1))  # nobody wants it
            made.give(request(2, parent=f"00-{trace}-{caller}-00"))  # its caller did not
            made.give(request(3, parent="no traceparent at all"))
            made.give(request(4, parent=f"00-{trace}-{caller}-01"))
            spans = named(await asyncio.to_thread(collector.wait, 3))
            await until(made, sent=3)
        assert facts(spans["request"])["poolhand.request.id"] == "r4"
        assert spans["request"].trace_id.hex() == trace
        assert spans["request"].parent_span_id.hex() == caller


async def test_a_collector_that_is_dead_or_deaf_costs_traces_and_no_time(
    unused_tcp_port: int,
) -> None:
    diary = Diary()
    with collecting() as collector:
        collector.is_open.clear()
        settings = Telemetry(
            traces=True, endpoint=f"http://127.0.0.1:{collector.port}", timeout_s=1.0
        )
        async with sending(diary, settings) as made:
            await until(made, state="sending")
            begun_s = time.thread_time()
            for number in range(2 * MOST_WAITING):
                made.give(request(number))
            took_s = time.thread_time() - begun_s
            told = made.facts()
            dropped, failed = told["dropped"], told["failed"]
            assert isinstance(dropped, int)
            assert isinstance(failed, int)
            # on a slow machine a batch may be given up meanwhile, and make room
            assert dropped + failed >= 3 * 2 * MOST_WAITING - MOST_WAITING - 3
            assert took_s < 5, "it never waits"
            collector.status = 400
            collector.is_open.set()
            await until(made, state="failing")
            collector.status = 200
            async with asyncio.timeout(30):
                while made.facts()["state"] != "sending":
                    made.give(request())
                    await asyncio.sleep(0.05)
    dead = Telemetry(traces=True, endpoint=f"http://127.0.0.1:{unused_tcp_port}", timeout_s=0.5)
    async with sending(diary, dead) as made:
        made.give(request())
        await until(made, state="failing", failed=3, sent=0)
        await diary.said("takes no traces")
        begun_s = time.monotonic()
    assert time.monotonic() - begun_s < room.LAST_WORD_S + 5, "and nobody waits for it at the end"


async def test_one_that_is_told_to_leave_sends_what_it_took_and_ends() -> None:
    diary, before = Diary(), set(threading.enumerate())
    with collecting() as collector:
        settings = Telemetry(traces=True, endpoint=f"http://127.0.0.1:{collector.port}")
        made = Traces(settings, {}, note=diary.note, clock_s=lambda: 100.0)
        made.give(request())
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            keeps = tasks.create_task(made.keep())
            await until(made, state="sending")
            made.give(request(1))
            made.leave()
        assert keeps.done()
        assert made.facts()["sent"] == 6
    left = [one for one in set(threading.enumerate()) - before if "Otel" in one.name]
    assert not left, "its thread has ended"


async def test_a_key_that_is_not_there_is_said_and_nothing_is_sent(tmp_path: Path) -> None:
    diary = Diary()
    settings = Telemetry(traces=True, key_file=str(tmp_path / "none"))
    async with sending(diary, settings) as made:
        await until(made, state="unusable")
        made.give(request())
        told = made.facts()
    error = cast("dict[str, str]", told["error"])
    assert error["code"] == "secret_unusable"
    assert error["remedy"]
    assert "secret_unusable" in diary.lines[0]


def test_without_the_extra_the_error_names_it_and_without_traces_nothing_is_imported() -> None:
    program = """
import asyncio, json, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
OURS = tuple(f"poolhand.agent.control.{n}" for n in ("traces", "spans", "completions", "whole"))
import poolhand.agent.daemon
early = [n for n in sys.modules if n.startswith(("opentelemetry", *OURS))]
from poolhand.agent.control.traces import Traces
from poolhand.config.telemetry import Telemetry
made = Traces(Telemetry(traces=True), {}, note=lambda *a, **k: None, clock_s=lambda: 0.0)
asyncio.run(made.keep())
print(json.dumps([early, made.facts()]))
"""
    ended = subprocess.run(  # noqa: S603  # our own interpreter
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50
    )
    early, told = json.loads(ended.stdout)
    assert early == []
    assert told["state"] == "unusable"
    assert told["error"]["code"] == "extra_missing"
    assert "poolhand[otel]" in told["error"]["words"]


async def test_a_local_request_is_traced_with_its_caller_and_without_its_text(
    tmp_path: Path,
) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    with collecting() as collector:
        settings = Telemetry(traces=True, endpoint=f"http://127.0.0.1:{collector.port}")
        async with (
            sending(Diary(), settings) as made,
            served(tmp_path, {MODEL: EchoEngine()}) as (rig, api),
        ):
            rig.desk.spans = Spans(rig.world.node, made.give)
            answer = await api.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": f"say {CANARY}"}],
                extra_headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
            )
            spans = named(await asyncio.to_thread(collector.wait, 3))
        told = facts(spans["request"])
        assert told["poolhand.request.id"] == answer.id
        assert told["poolhand.request.local"] is True
        assert spans["request"].trace_id.hex() == trace
        assert facts(spans["answer"])["poolhand.request.finish_reason"] == "stop"
        assert [event.name for event in spans["answer"].events] == ["first_token"]
        assert CANARY not in str(collector.batches)
        assert "say" not in str(collector.batches)
