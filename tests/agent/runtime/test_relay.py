"""Sealed requests in, sealed chunks out, one end each, and not a word beside it."""

import asyncio
import base64
import json
import logging
import os
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, cast

import pytest
from nacl.public import Box, PrivateKey, PublicKey
from runtime_world import Inbox, group

from poolhand.agent.core.events import GenerationEnded, RequestKey, RequestOpened, RequestUnreadable
from poolhand.agent.runtime.lanes import Lanes
from poolhand.agent.runtime.relay import BEAT_S, INLINE_CHARS, Relay
from poolhand.agent.wire.inbound import InferenceRequest
from poolhand.agent.wire.sealing import NodeKey
from poolhand.agent.wire.types import Sealed
from poolhand.backends.engines.base import (
    Delta,
    Engine,
    Finished,
    Native,
    Piece,
    Prompt,
    Started,
    Usage,
)
from poolhand.backends.engines.echo import EchoEngine
from poolhand.backends.engines.errors import EngineBrokeOff, EngineDied
from poolhand.config.refusals import RequestRefused

KEY = RequestKey(1, "r")
CANARY = "canary-7f3a"
BODY = {"model": "m", "messages": [{"role": "user", "content": f"one two {CANARY}"}]}


class Line(Lanes):
    """Everything that goes over it is read at once, as long as there is room."""

    def __init__(self, read: Callable[[bytes], None]) -> None:
        super().__init__()
        self._read = read
        self.is_full = self.is_gone = False
        self.frees = asyncio.Event()

    @property
    def has_room(self) -> bool:
        return not (self.is_full or self.is_gone)

    def put_chunk_now(self, frame: bytes) -> None:
        assert self.has_room
        self._read(frame)

    async def put_chunk(self, frame: bytes) -> bool:
        if self.is_full:
            await self.frees.wait()
            self.is_full = False
        if self.is_gone:
            return False
        self.put_chunk_now(frame)
        return not self.is_gone


class Coordinator:
    """Seals requests as a coordinator does, and opens what comes back."""

    def __init__(self) -> None:
        self.node = NodeKey(os.urandom(32))
        self._ours = PrivateKey.generate()
        self._box = Box(self._ours, PublicKey(base64.b64decode(self.node.public_key)))
        self.frames: list[str] = []
        self.times_s: list[float] = []
        self.line = Line(self._take)

    def seal(self, body: object) -> InferenceRequest:
        plaintext = body if isinstance(body, bytes) else json.dumps(body).encode()
        sealed = Sealed(
            ephemeral_public_key=base64.b64encode(bytes(self._ours.public_key)).decode(),
            ciphertext=base64.b64encode(self._box.encrypt(plaintext)).decode(),
        )
        return InferenceRequest(request_id="r", encrypted_body=sealed)

    def _take(self, frame: bytes) -> None:
        self.frames.append(frame.decode())
        self.times_s.append(time.monotonic())

    def opened(self) -> list[dict[str, Any]]:
        chunks: list[dict[str, Any]] = []
        for frame in self.frames:
            said = json.loads(frame)
            assert said["encrypted_data"]["ephemeral_public_key"] == self.node.public_key
            raw = self._box.decrypt(base64.b64decode(said["encrypted_data"]["ciphertext"]))
            assert raw.startswith(b"data: ")
            chunks.append(cast("dict[str, Any]", json.loads(raw[6:])))
        return chunks

    def text(self) -> str:
        deltas = [c["choices"][0]["delta"] for c in self.opened() if c["choices"]]
        return "".join(str(delta.get("content", "")) for delta in deltas)


class Scripted(EchoEngine):
    """Says what it is told to, and notes how it was left."""

    def __init__(self, pieces: Sequence[Piece | Exception | float]) -> None:
        super().__init__()
        self._pieces = pieces
        self.prompts: list[Prompt] = []
        self.yielded = 0
        self.is_closed = asyncio.Event()

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        self.prompts.append(prompt)
        try:
            for piece in self._pieces:
                if isinstance(piece, Exception):
                    raise piece
                if isinstance(piece, Piece):
                    self.yielded += 1
                    yield piece
                else:
                    await asyncio.sleep(piece)
        finally:
            self.is_closed.set()


class Fast(EchoEngine):
    """Makes a token each half millisecond; a slow reader gets larger deltas, as of a real one."""

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        yield Started(1)
        begun_s, said = time.monotonic(), 0
        while said < 400:
            await asyncio.sleep(0.0005)
            now = min(400, int((time.monotonic() - begun_s) / 0.0005))
            if now > said:
                said, fresh = now, now - said
                yield Delta("x" * fresh, tokens=fresh)
        yield Finished("stop", Usage(1, 400))


def relay_of(
    coordinator: Coordinator, inbox: Inbox, tasks: asyncio.TaskGroup, engine: Engine | None
) -> Relay:
    return Relay(
        coordinator.node,
        engine=lambda model: engine if model == "m" else None,
        lane={KEY.line: coordinator.line}.__getitem__,
        tell=inbox.tell,
        tasks=tasks,
    )


async def answer(
    engine: Engine | None, inbox: Inbox, body: object = BODY, most: int = 100
) -> tuple[Coordinator, GenerationEnded]:
    """One request from its opening to its end."""
    coordinator = Coordinator()
    async with group() as tasks:
        relay = relay_of(coordinator, inbox, tasks, engine)
        relay.open(KEY, coordinator.seal(body))
        await inbox.first(RequestOpened)
        relay.start(KEY, "m", most)
        ended = await inbox.first(GenerationEnded)
    assert len(inbox.of(GenerationEnded)) == 1
    return coordinator, ended


async def echo() -> EchoEngine:
    engine = EchoEngine()
    await engine.start()
    return engine


# ── opening ───────────────────────────────────────────────────────────────────────────


async def test_a_request_is_opened_and_its_text_stays(inbox: Inbox) -> None:
    coordinator = Coordinator()
    async with group() as tasks:
        relay = relay_of(coordinator, inbox, tasks, None)
        relay.open(KEY, coordinator.seal({**BODY, "max_tokens": 7}))
    assert inbox.all == [RequestOpened(KEY, "m", 7)]


@pytest.mark.parametrize(
    ("said", "longest"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6, "max_tokens": 5}, 6),
        ({"max_tokens": 16.0}, 16),
        ({"max_tokens": 16.5}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": 0}, None),
        ({"max_tokens": "9"}, None),
        ({"max_tokens": 10**30}, 2**31 - 1),
    ],
)
async def test_the_longest_answer(
    inbox: Inbox, said: dict[str, object], longest: int | None
) -> None:
    coordinator = Coordinator()
    async with group() as tasks:
        relay_of(coordinator, inbox, tasks, None).open(KEY, coordinator.seal(BODY | said))
    assert (await inbox.first(RequestOpened)).max_tokens == longest


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"7", b"\xff", b"[" * 100_000, {}, {"model": ""}, {"model": 7},
        {"model": "x" * 257},
        {"model": "m\nINFO forged"}, {"model": "m", "endpoint": "/v1/embeddings"},
        {"model": "m", "endpoint": ["x"]},
    ],
)  # fmt: skip
async def test_what_is_no_request_is_refused_and_the_relay_goes_on(
    inbox: Inbox, body: object
) -> None:
    coordinator = Coordinator()
    async with group() as tasks:
        relay = relay_of(coordinator, inbox, tasks, None)
        relay.open(KEY, coordinator.seal(body))
        assert (await inbox.first(RequestUnreadable)).error.wire_status == 400
        relay.open(KEY, coordinator.seal(BODY))
        await inbox.first(RequestOpened)


async def test_a_box_that_does_not_open_is_refused(inbox: Inbox) -> None:
    stranger, coordinator = Coordinator(), Coordinator()
    async with group() as tasks:
        relay = relay_of(coordinator, inbox, tasks, None)
        relay.open(KEY, stranger.seal(BODY))
        relay.open(KEY, InferenceRequest(request_id="r"))
    assert [type(event) for event in inbox.all] == [RequestUnreadable] * 2


async def test_sixteen_mebibytes_are_opened_off_the_loop(inbox: Inbox) -> None:
    coordinator = Coordinator()
    message = coordinator.seal({**BODY, "pad": "x" * 2**24})
    assert message.encrypted_body is not None
    assert len(message.encrypted_body.ciphertext) > INLINE_CHARS
    async with group() as tasks:
        relay = relay_of(coordinator, inbox, tasks, None)
        begun_s = time.monotonic()
        relay.open(KEY, message)
        assert time.monotonic() - begun_s < 0.02
        assert not inbox.all
        assert (await inbox.first(RequestOpened)).model == "m"


# ── answering ─────────────────────────────────────────────────────────────────────────


async def test_an_answer_goes_out_sealed_and_whole(inbox: Inbox) -> None:
    coordinator, ended = await answer(await echo(), inbox)
    assert coordinator.text() == f"one two {CANARY}"
    *_, end, usage = coordinator.opened()
    assert end["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    assert ended == GenerationEnded(KEY, "complete", Usage(3, 3), has_output=True)


async def test_a_coordinators_client_does_not_hear_what_was_asked_before_it(inbox: Inbox) -> None:
    engine = Scripted([Started(9), Finished("stop", Usage(9, 0, cached_tokens=8))])
    coordinator, _ = await answer(engine, inbox)
    assert set(coordinator.opened()[-1]["usage"]) == {
        *("prompt_tokens", "completion_tokens", "total_tokens")
    }


async def test_a_text_completion(inbox: Inbox) -> None:
    body = {"model": "m", "endpoint": "/v1/completions", "prompt": "a b"}
    coordinator, _ = await answer(await echo(), inbox, body)
    said = coordinator.opened()
    assert said[0]["object"] == "text_completion"
    assert "".join(c["choices"][0]["text"] for c in said if c["choices"]) == "a b"


async def test_a_native_answer_goes_through_event_by_event(inbox: Inbox) -> None:
    events = ['{"type":"message_start"}', '{"type":"message_stop"}']
    engine = Scripted([Started(2), *map(Native, events), Finished("stop", Usage(2, 1))])
    body: dict[str, object] = {"model": "m", "endpoint": "/v1/messages", "messages": []}
    coordinator, ended = await answer(engine, inbox, body)
    assert [said["type"] for said in coordinator.opened()] == ["message_start", "message_stop"]
    assert engine.prompts[0].endpoint == "messages"
    assert ended == GenerationEnded(KEY, "complete", Usage(2, 1), has_output=True)


async def test_a_native_answer_that_is_cancelled_has_taken_what_was_said(inbox: Inbox) -> None:
    engine = Scripted([Started(2), Native('{"type":"a"}', 1), Native('{"type":"b"}', 3), 60.0])
    body: dict[str, object] = {"model": "m", "endpoint": "/v1/messages", "messages": []}
    coordinator = Coordinator()
    async with group() as tasks:
        relay = relay_of(coordinator, inbox, tasks, engine)
        relay.open(KEY, coordinator.seal(body))
        relay.start(KEY, "m", 5)
        await asyncio.sleep(BEAT_S * 2)
        relay.cancel(KEY)
        ended = await inbox.first(GenerationEnded)
    assert ended == GenerationEnded(KEY, "cancelled", Usage(2, 4), has_output=True)


async def test_an_engine_that_takes_no_native_request_says_so(inbox: Inbox) -> None:
    body: dict[str, object] = {"model": "m", "endpoint": "/v1/messages", "messages": []}
    _, ended = await answer(await echo(), inbox, body)
    assert isinstance(ended.error, RequestRefused)


async def test_a_prompt_that_is_counted_at_the_end_has_no_usage_before(inbox: Inbox) -> None:
    death = EngineDied(engine="x", exit_code=0)
    _, ended = await answer(Scripted([Started(None), Delta("a"), death]), inbox)
    assert (ended.usage, ended.has_output) == (None, True)


async def test_the_engine_gets_the_whole_body_and_the_bound(inbox: Inbox) -> None:
    engine = Scripted([Started(1), Finished("stop", Usage(1, 0))])
    await answer(engine, inbox, {**BODY, "temperature": 0.5, "strange": [1]}, most=9)
    prompt = engine.prompts[0]
    assert (prompt.max_tokens, prompt.endpoint) == (9, "chat")
    assert prompt.body["strange"] == [1]


async def test_no_model_no_answer(inbox: Inbox) -> None:
    _, ended = await answer(None, inbox)
    assert (ended.outcome, ended.usage, ended.has_output) == ("failed", None, False)
    assert ended.error is not None
    assert ended.error.code == "engine_not_running"


async def test_an_engine_that_dies_in_the_middle(inbox: Inbox) -> None:
    death = EngineDied(engine="x", exit_code=-9)
    engine = Scripted([Started(4), Delta("a", tokens=2), death])
    _, ended = await answer(engine, inbox)
    assert ended == GenerationEnded(KEY, "failed", Usage(4, 2), has_output=True, error=death)


async def test_a_stream_that_just_stops_has_failed(inbox: Inbox) -> None:
    _, ended = await answer(Scripted([Started(4), Delta("a", tokens=1)]), inbox)
    assert ended.outcome == "failed"
    assert isinstance(ended.error, EngineBrokeOff)


async def test_an_answer_that_was_said_whole_stays_whole(inbox: Inbox) -> None:
    pieces = [Started(1), Finished("stop", Usage(1, 0)), EngineDied(engine="x", exit_code=0)]
    _, ended = await answer(Scripted(pieces), inbox)
    assert (ended.outcome, ended.error) == ("complete", None)


async def test_a_delta_that_no_line_takes_fails_its_request_alone(inbox: Inbox) -> None:
    _, ended = await answer(Scripted([Started(1), Delta("x" * 2**23, tokens=1)]), inbox)
    assert (ended.outcome, ended.has_output) == ("failed", False)
    assert isinstance(ended.error, EngineBrokeOff), "the engine lives on"
    assert "longer than a coordinator reads" in str(ended.error)


async def test_a_line_that_is_gone_cancels(inbox: Inbox) -> None:
    engine = Scripted([Started(1), Delta("a", tokens=1), 60.0])
    coordinator = Coordinator()
    coordinator.line.is_gone = True
    async with group() as tasks:
        relay = relay_of(coordinator, inbox, tasks, engine)
        relay.open(KEY, coordinator.seal(BODY))
        relay.start(KEY, "m", 5)
        ended = await inbox.first(GenerationEnded)
        assert engine.is_closed.is_set()
    assert (ended.outcome, ended.has_output) == ("cancelled", False)


# ── pace and pressure ─────────────────────────────────────────────────────────────────


async def test_the_first_words_go_at_once_and_a_fast_engine_is_batched(inbox: Inbox) -> None:
    coordinator, ended = await answer(Fast(), inbox)
    deltas_s = coordinator.times_s[:-2]
    assert coordinator.text() == "x" * 400
    assert ended.usage == Usage(1, 400)
    # 0.2 s of tokens: ten beats, the first chunk, the end and the usage
    assert 3 <= len(coordinator.frames) <= 16
    most = (deltas_s[-1] - deltas_s[0]) / BEAT_S + 2
    assert len(deltas_s) <= most, "one for each beat, and one for each end of the time"


class Keeping(Scripted):
    """Keeps beats, or says that it does."""

    keeps_beats = True


@pytest.mark.parametrize("engine", [Scripted, Keeping])
async def test_an_engine_that_keeps_beats_is_told_them_and_not_held_again(
    inbox: Inbox, engine: type[Scripted]
) -> None:
    made = engine([Started(1), *[Delta("a", tokens=1)] * 30, Finished("stop", Usage(1, 30))])
    coordinator, _ = await answer(made, inbox)
    assert made.prompts[0].beat_s == BEAT_S
    took_s = coordinator.times_s[-1] - coordinator.times_s[0]
    assert coordinator.text() == "a" * 30
    assert (took_s < BEAT_S * 20) is (engine is Keeping)


class Offering(EchoEngine):
    """Offers the middle of its answer to whoever takes it at once, and yields what is not taken."""

    keeps_beats = True

    def __init__(self, middle: Sequence[tuple[str, bool]], line: Line) -> None:
        super().__init__()
        self._middle = middle
        self._line = line
        self.taken: list[bool] = []

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        take = prompt.take
        assert take is not None
        yield Started(1)
        assert not take("too early", 1)
        yield Delta("first", tokens=1)
        for text, has_room in self._middle:
            self._line.is_full = not has_room
            self.taken.append(take(text, 1))
            self._line.frees.set()
            if not self.taken[-1]:
                yield Delta(text, tokens=1)
        yield Finished("stop", Usage(1, 1 + len(self._middle)))


async def offered(inbox: Inbox, middle: Sequence[tuple[str, bool]]) -> list[bool]:
    """What is taken at once of the middle of an answer; with each text, whether there is room."""
    coordinator = Coordinator()
    engine = Offering(middle, coordinator.line)
    async with group() as tasks:
        relay = relay_of(coordinator, inbox, tasks, engine)
        relay.open(KEY, coordinator.seal(BODY))
        relay.start(KEY, "m", 9)
        ended = await inbox.first(GenerationEnded)
    assert ended.outcome == "complete"
    assert coordinator.text() == "first" + "".join(text for text, _ in middle)
    return engine.taken


async def test_the_middle_of_an_answer_is_taken_at_once_if_there_is_room(inbox: Inbox) -> None:
    rooms = [True, True, False, True, False, True]
    assert await offered(inbox, [(f" {at}", room) for at, room in enumerate(rooms)]) == rooms


async def test_what_is_long_is_left_to_the_answers_own_task(inbox: Inbox) -> None:
    assert await offered(inbox, [("x" * 2**17, True), (" end", True)]) == [False, True]


async def test_many_answers_go_out_on_one_stroke(inbox: Inbox) -> None:
    pieces = [Started(1), *[Delta("a", tokens=1)] * 4, Finished("stop", Usage(1, 4))]
    engine, coordinator = Scripted(pieces), Coordinator()
    async with group() as tasks:
        relay = relay_of(coordinator, inbox, tasks, engine)
        keys = [RequestKey(1, f"r{at}") for at in range(20)]
        for key in keys:
            relay.open(key, coordinator.seal(BODY))
            relay.start(key, "m", 5)
        await inbox.first(GenerationEnded, len(keys))
    # four deltas an answer; the first at once, three strokes for all the others
    gaps = sum(
        after - before > BEAT_S / 4
        for before, after in zip(coordinator.times_s, coordinator.times_s[1:], strict=False)
    )
    assert len(coordinator.frames) == 20 * 6
    assert gaps <= 8, "and not one for each of sixty chunks"


async def test_the_first_chunk_does_not_wait_for_a_second(inbox: Inbox) -> None:
    engine = Scripted([Started(1), Delta("a", tokens=1), 60.0])
    coordinator = Coordinator()
    async with group() as tasks:
        relay = relay_of(coordinator, inbox, tasks, engine)
        relay.open(KEY, coordinator.seal(BODY))
        begun_s = time.monotonic()
        relay.start(KEY, "m", 5)
        async with asyncio.timeout(5):
            while not coordinator.frames:  # noqa: ASYNC110  # frames are a list, not an event
                await asyncio.sleep(0)
        assert time.monotonic() - begun_s < 0.25


async def test_a_full_line_stops_the_engine(inbox: Inbox) -> None:
    engine = Scripted([Started(1), *[Delta("a", tokens=1)] * 50, Finished("stop", Usage(1, 50))])
    coordinator, lanes = Coordinator(), Lanes(room_bytes=500)
    async with group() as tasks:
        relay = Relay(
            coordinator.node,
            engine=lambda _: engine,
            lane=lambda _: lanes,
            tell=inbox.tell,
            tasks=tasks,
        )
        relay.open(KEY, coordinator.seal(BODY))
        relay.start(KEY, "m", 50)
        await asyncio.sleep(BEAT_S * 8)
        assert 2 <= engine.yielded <= 4
        assert not inbox.of(GenerationEnded)
        # fifty deltas, the end and the usage
        for _ in range(52):
            while not lanes.take(1):  # noqa: ASYNC110  # whoever waits for room has its turn
                await asyncio.sleep(0)
        await inbox.first(GenerationEnded)
        assert engine.yielded == 52


# ── cancelling ────────────────────────────────────────────────────────────────────────


async def test_a_cancel_before_the_first_step_is_still_an_end(inbox: Inbox) -> None:
    coordinator = Coordinator()
    async with group() as tasks:
        relay = relay_of(coordinator, inbox, tasks, await echo())
        relay.open(KEY, coordinator.seal(BODY))
        relay.start(KEY, "m", 5)
        relay.cancel(KEY)
        relay.cancel(KEY)
        ended = await inbox.first(GenerationEnded)
    assert ended == GenerationEnded(KEY, "cancelled")
    assert not coordinator.frames


@pytest.mark.parametrize("is_stuck", [False, True])
async def test_a_cancel_in_the_middle_closes_the_engine_in_time(
    inbox: Inbox, *, is_stuck: bool
) -> None:
    engine = Scripted([Started(2), Delta("a", tokens=1), 60.0])
    coordinator = Coordinator()
    async with group() as tasks:
        relay = relay_of(coordinator, inbox, tasks, engine)
        relay.open(KEY, coordinator.seal(BODY))
        if is_stuck:
            coordinator.line.is_full = True
        relay.start(KEY, "m", 5)
        await asyncio.sleep(BEAT_S * 2)
        begun_s = time.monotonic()
        relay.cancel(KEY)
        ended = await inbox.first(GenerationEnded)
        assert time.monotonic() - begun_s < 0.25
        assert engine.is_closed.is_set()
    assert ended == GenerationEnded(KEY, "cancelled", Usage(2, 1), has_output=not is_stuck)


async def test_a_forgotten_request_cannot_be_answered(inbox: Inbox) -> None:
    coordinator = Coordinator()
    async with group() as tasks:
        relay = relay_of(coordinator, inbox, tasks, await echo())
        relay.open(KEY, coordinator.seal(BODY))
        relay.forget(KEY)
        relay.forget(KEY)
        relay.cancel(KEY)
        relay.start(KEY, "m", 5)
        assert (await inbox.first(GenerationEnded)).outcome == "failed"


@pytest.mark.parametrize("seed", range(25))
async def test_every_answer_ends_once_whatever_happens_when(seed: int, inbox: Inbox) -> None:
    chance = random.Random(seed)  # noqa: S311  # a seed, so that it can be repeated
    ends: list[Piece | Exception] = [
        Finished("stop", Usage(1, 2)),
        EngineDied(engine="x", exit_code=1),
        Delta("", tokens=1),
    ]
    coordinator = Coordinator()
    async with group() as tasks:
        engine = Scripted([Started(1), Delta("a", tokens=1), 0.001, chance.choice(ends)])
        relay = relay_of(coordinator, inbox, tasks, engine)
        keys = [RequestKey(1, f"r{at}") for at in range(8)]
        for key in keys:
            relay.open(key, coordinator.seal(BODY))
            relay.start(key, "m", 5)
        for _ in range(6):
            await asyncio.sleep(chance.choice([0, 0, 0.001]))
            relay.cancel(chance.choice(keys))
            coordinator.line.is_gone = coordinator.line.is_gone or chance.random() < 0.1
        await inbox.first(GenerationEnded, len(keys))
    assert sorted(ended.request.id for ended in inbox.of(GenerationEnded)) == [k.id for k in keys]


# ── nothing is readable outside ───────────────────────────────────────────────────────


class Stumbling(EchoEngine):
    """Has a bug."""

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        yield Started(1)
        raise ZeroDivisionError


async def test_nobody_outside_reads_a_word(
    inbox: Inbox, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    coordinator = Coordinator()
    async with group() as tasks:
        relay = relay_of(coordinator, inbox, tasks, await echo())
        relay.open(KEY, coordinator.seal(BODY))
        held = list(vars(relay).values())
        assert CANARY not in repr(held)
        relay.start(KEY, "m", 5)
        await inbox.first(GenerationEnded)
    said = capfd.readouterr()
    outside = (repr(inbox.all), caplog.text, said.out, said.err, "".join(coordinator.frames))
    assert not any(CANARY in text for text in outside)
    assert CANARY in coordinator.text()


async def test_a_bug_in_an_engine_ends_everything_loudly(inbox: Inbox) -> None:
    async def run() -> None:
        coordinator = Coordinator()
        async with asyncio.TaskGroup() as tasks:
            relay = relay_of(coordinator, inbox, tasks, Stumbling())
            relay.open(KEY, coordinator.seal(BODY))
            relay.start(KEY, "m", 5)

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    assert caught.group_contains(ZeroDivisionError)
