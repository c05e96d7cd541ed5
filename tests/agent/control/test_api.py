"""The owner's socket against raw bytes: only GET, only the owner, and never for long."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from poolhand.agent.control import api as room
from poolhand.agent.control.api import (
    MAX_CLIENTS,
    MAX_LONG,
    MAX_REFUSED,
    MAX_REQUEST_BYTES,
    Api,
    control_socket,
)
from poolhand.agent.control.asked import TEXT, Answer, Asked, Long, NotAnswered, Routes
from poolhand.agent.control.client import AgentNotRunning, get
from poolhand.config.paths import StateUnusable


async def echo(question: Asked) -> Answer:
    await asyncio.sleep(0)
    return Answer({"heard": question.body.decode(), "query": dict(question.query)}, 202)


async def pieces() -> AsyncIterator[bytes]:
    for word in (b"one ", b"two ", b"three"):
        yield word
        await asyncio.sleep(0)


ROUTES: Routes = {
    "/v1/status": {"GET": lambda _: Answer({"serving": True})},
    "/v1/echo": {"POST": echo},
    "/text": {"GET": lambda _: Answer("some_metric 1\n", kind=TEXT)},
    "/pieces": {"GET": lambda _: Answer(pieces(), kind=TEXT)},
}


class Over(Exception):  # a test's way to end a task group
    """The test is over."""


@asynccontextmanager
async def served(path: Path) -> AsyncGenerator[None]:
    def end() -> NoReturn:
        raise Over

    ready = asyncio.Event()
    try:
        with control_socket(path) as bound:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(Api(ROUTES).serve(bound, ready.set))
                await ready.wait()
                yield
                end()
    except* Over:
        pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "control.sock"


def mode(path: Path) -> int | None:
    return path.stat().st_mode & 0o777 if os.path.lexists(path) else None


async def ask(path: Path, request: bytes, *, is_whole: bool = True) -> tuple[int, object]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    if is_whole:
        writer.write_eof()
    raw = await reader.read()
    writer.transport.abort()
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


async def test_status_is_answered(path: Path) -> None:
    async with served(path):
        assert await asyncio.to_thread(get, path, "/v1/status", 5) == (200, b'{"serving": true}\n')
        assert await ask(path, b"GET /v1/status?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n") == (
            200,
            {"serving": True},
        )


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found"),
        (b"GET /v1/status/../x HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found"),
        (b"POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 405,
         "method_not_allowed"),
        (b"GET /v1/echo HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"),
        (b"POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{}", 400, "bad_request"),
        (b"POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n" + b" " * 20000, 413,
         "too_large"),
        (b"DELETE /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"),
        (b"hello\r\n\r\n", 400, "bad_request"),
        (b"GET /v1/status HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"\x16\x03\x01\x00\xff\r\n\r\n", 400, "bad_request"),
        (b"GET /v1/st", 400, "bad_request"),
        (b"", 400, "bad_request"),
        (b"GET /" + b"x" * 2 * MAX_REQUEST_BYTES, 431, "bad_request"),
    ],
)  # fmt: skip
async def test_what_is_not_answered(path: Path, request_: bytes, status: int, code: str) -> None:
    async with served(path):
        got, body = await ask(path, request_)
        assert got == status
        assert isinstance(body, dict)
        assert body["code"] == code
        assert (await ask(path, b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 200


async def test_a_body_reaches_its_route_and_whoever_waits_is_waited_for(path: Path) -> None:
    async with served(path):
        head = b"POST /v1/echo?a=1&a=2&b HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n"
        assert await ask(path, head + b'{"a":1}') == (
            202,
            {"heard": '{"a":1}', "query": {"a": "2", "b": ""}},
        )


async def test_text_comes_as_text_and_pieces_come_as_they_are_made(path: Path) -> None:
    async with served(path):
        assert await asyncio.to_thread(get, path, "/text", 5) == (200, b"some_metric 1\n")
        assert await asyncio.to_thread(get, path, "/pieces", 5) == (200, b"one two three")


async def test_a_reader_who_leaves_ends_what_makes_the_pieces(path: Path) -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 2**16
                await asyncio.sleep(0)
        finally:
            ended.set()

    ready = asyncio.Event()
    routes: Routes = {"/endless": {"GET": lambda _: Answer(endless(), kind=TEXT)}}
    with control_socket(path) as bound:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(Api(routes).serve(bound, ready.set))
            await ready.wait()
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readexactly(2**17)
            writer.transport.abort()
            async with asyncio.timeout(20):
                await ended.wait()
            serving.cancel()


async def test_a_guard_stands_before_every_route(path: Path) -> None:
    def refuse(question: Asked) -> None:
        raise NotAnswered(401, "no_key", f"not {question.path}")

    ready = asyncio.Event()
    with control_socket(path) as bound:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(Api(ROUTES, guard=refuse).serve(bound, ready.set))
            await ready.wait()
            for target in ("/v1/status", "/nowhere"):
                request = f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                told = {"code": "no_key", "words": f"not {target}"}
                assert await ask(path, request) == (401, told)
            serving.cancel()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[", "the body has to be a JSON object"),
        (b"[1]", "the body has to be a JSON object"),
        (b"\xff", "the body has to be a JSON object"),
        (b"[" * 100_000, "the body has to be a JSON object"),
        (b'{"c": 1}', "unknown field; known are: a, b"),
        (b'{"a": 1}', "a is of the wrong type"),
        (b'{"b": true}', "b is of the wrong type"),
        (b'{"b": "1"}', "b is of the wrong type"),
    ],
)
def test_a_body_is_held_to_its_fields(body: bytes, words: str) -> None:
    with pytest.raises(NotAnswered, match=words) as caught:
        Asked("POST", "/", body=body).fields(known={"a": str, "b": (int, float)})
    assert caught.value.answer.status == 400
    for good in (b"", b" ", b"{}", b'{"a": "x", "b": 1}', b'{"b": 0.5}'):
        assert Asked("POST", "/", body=good).fields(known={"a": str, "b": (int, float)}) == (
            json.loads(good) if good.strip() else {}
        )


async def test_only_the_owner_may_look_in(path: Path) -> None:
    async with served(path):
        assert mode(path) == 0o600
        assert mode(path.parent) == 0o700
    assert mode(path) is None


async def test_what_a_dead_process_left_is_replaced(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with served(path):
        assert (await asyncio.to_thread(get, path, "/v1/status", 5))[0] == 200


def test_a_folder_that_others_may_write_to_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with pytest.raises(StateUnusable, match="chmod 700"), control_socket(path):
        pass


def test_a_place_that_is_taken_by_a_folder_is_named(path: Path) -> None:
    path.mkdir(parents=True)
    path.parent.chmod(0o700)
    with pytest.raises(StateUnusable, match="control"), control_socket(path):
        pass


async def test_a_client_that_never_finishes_is_left(path: Path) -> None:
    async with served(path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /v1/sta")
        async with asyncio.timeout(room.PATIENCE_S + 3):
            assert await reader.read() == b""
        writer.transport.abort()


async def test_too_many_clients_are_turned_away_and_the_others_served(path: Path) -> None:
    async with served(path):
        idle = [await asyncio.open_unix_connection(path) for _ in range(MAX_CLIENTS)]
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
        said = await reader.read()
        assert said.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in said.lower()
        assert b'"code": "overloaded"' in said
        writer.transport.abort()
        first_reader, first_writer = idle[0]
        first_writer.write(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await first_reader.read()).startswith(b"HTTP/1.1 200")
        assert (await asyncio.to_thread(get, path, "/v1/status", 5))[0] == 200
        for _, other in idle:
            other.transport.abort()


async def test_of_very_many_clients_no_notice_is_taken(path: Path) -> None:
    async with served(path):
        began_s = asyncio.get_running_loop().time()
        most = MAX_CLIENTS + MAX_REFUSED
        idle = [await asyncio.open_unix_connection(path) for _ in range(most)]
        for reader, _ in idle[MAX_CLIENTS:]:
            assert (await reader.readline()).startswith(b"HTTP/1.1 503")
        reader, writer = await asyncio.open_unix_connection(path)
        said = await reader.read()
        # on a slow machine the first of them have been left by now
        is_quick = asyncio.get_running_loop().time() - began_s < room.LINGER_S
        assert said == b"" or not is_quick
        writer.transport.abort()
        for _, other in idle:
            other.transport.abort()


async def test_a_client_that_is_served_does_not_hold_up_the_end(path: Path) -> None:
    async with served(path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET")
        # whoever came later is answered, so this one was let in
        assert (await asyncio.to_thread(get, path, "/v1/status", 5))[0] == 200
    async with asyncio.timeout(2):
        assert await reader.read() == b""
    writer.transport.abort()
    with pytest.raises(AgentNotRunning):
        get(path, "/v1/status", 1)


async def test_long_answers_have_a_bound_of_their_own_and_end_with_their_client(
    path: Path,
) -> None:
    begun, left = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def wait(_: Asked) -> Answer:
        begun.release()
        try:
            await asyncio.Event().wait()
        finally:
            left.release()
        return Answer({})

    routes: Routes = {
        "/long": {"POST": Long(wait, 100, lambda answer: Answer({"said": answer.body}, 429))},
        "/quick": {"GET": lambda _: Answer({})},
    }
    request = b"POST /long HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    ready = asyncio.Event()
    with control_socket(path) as bound:
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(30):
            serving = tasks.create_task(Api(routes).serve(bound, ready.set))
            await ready.wait()
            writers: list[asyncio.StreamWriter] = []
            for _ in range(MAX_LONG):
                _, writer = await asyncio.open_unix_connection(path)
                writer.write(request)
                await begun.acquire()
                writers.append(writer)
            status, told = await ask(path, request, is_whole=False)
            assert status == 429
            assert "64 are being answered" in str(told)
            assert (await ask(path, b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 200
            writers[0].transport.abort()
            await left.acquire()
            writers[1].write(b"x" * 2 * MAX_REQUEST_BYTES)  # it was asked nothing more
            await left.acquire()
            for writer in writers:
                writer.transport.abort()
            serving.cancel()


async def test_a_bug_in_a_route_ends_everything_loudly(path: Path) -> None:
    def stumble(_: Asked) -> NoReturn:
        raise ZeroDivisionError

    async def run() -> None:
        with control_socket(path) as bound:
            async with asyncio.TaskGroup() as tasks:
                ready = asyncio.Event()
                routes: Routes = {"/x": {"GET": stumble}}
                tasks.create_task(Api(routes).serve(bound, ready.set))
                await ready.wait()
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
                try:
                    await reader.read()
                    await asyncio.Event().wait()
                finally:
                    writer.transport.abort()

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    assert caught.group_contains(ZeroDivisionError)
    assert mode(path) is None
