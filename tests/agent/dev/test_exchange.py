"""One request's boxes and the order of its steps."""

import json
from collections.abc import Iterable

import pytest

from poolhand.agent.dev.exchange import (
    DISCONNECTED,
    MOST_HELD,
    MOST_WAITING,
    TIMED_OUT,
    Breach,
    Exchange,
    Failure,
    Finished,
    Piece,
)
from poolhand.agent.dev.strict import Accepted, Box, Chunk, Complete, Failed
from poolhand.agent.wire.sealing import NodeKey, RequestBox
from poolhand.agent.wire.types import Sealed

NODE = NodeKey(bytes(range(32)))


def opened(accept_wait_s: float = 10.0, chunk_wait_s: float = 10.0) -> tuple[Exchange, RequestBox]:
    made = Exchange(
        public_key=NODE.public_key, accept_wait_s=accept_wait_s, chunk_wait_s=chunk_wait_s
    )
    plaintext, box = NODE.open_request(Sealed.model_validate(made.seal(b"prompt")))
    assert plaintext == b"prompt"
    return made, box


def sealed(box: RequestBox, *, text: str = "x", key: str = NODE.public_key) -> Chunk:
    fields = {"choices": [{"index": 0, "delta": {"content": text}}]}
    ciphertext = box.seal(json.dumps(fields).encode(), bytes(24)).decode()
    return Chunk(encrypted_data=Box(ephemeral_public_key=key, ciphertext=ciphertext))


async def words(exchange: Exchange) -> list[object]:
    return [step async for step in exchange.steps(await exchange.opening())]


async def test_an_answer_is_its_pieces_and_its_end() -> None:
    exchange, box = opened()
    frames = [Accepted(), sealed(box), sealed(box, text="y"), Complete()]
    assert [exchange.hear(frame) for frame in frames] == [True] * 4
    steps = await words(exchange)
    assert [type(step) for step in steps] == [Piece, Piece, Finished]
    assert "x" not in repr(steps[0])


async def test_two_requests_do_not_share_a_key() -> None:
    (one, _), (_, other_box) = opened(), opened()
    with pytest.raises(Breach, match="does not open"):
        one.hear(sealed(other_box))


def _breaches(box: RequestBox) -> Iterable[Chunk]:
    good = sealed(box)
    assert good.encrypted_data is not None
    yield Chunk(data="data: {}")
    yield Chunk(data="data: {}", encrypted_data=good.encrypted_data)
    yield Chunk()
    yield sealed(box, key=NodeKey(bytes(32)).public_key)
    yield Chunk(encrypted_data=Box(ephemeral_public_key=NODE.public_key, ciphertext="?"))
    yield Chunk(encrypted_data=Box(ephemeral_public_key=NODE.public_key, ciphertext="AAAA"))
    yield Chunk(
        encrypted_data=Box(
            ephemeral_public_key=NODE.public_key, ciphertext=box.seal(b"words", bytes(24)).decode()
        )
    )


async def test_whatever_is_not_sealed_as_it_must_be_is_a_breach() -> None:
    exchange, box = opened()
    for chunk in _breaches(box):
        with pytest.raises(Breach):
            exchange.hear(chunk)


async def test_chunks_beyond_a_slow_clients_patience_are_dropped_but_never_the_end() -> None:
    exchange, box = opened()
    kept = [exchange.hear(sealed(box)) for _ in range(MOST_WAITING + 5)]
    assert kept.count(False) == 5
    exchange.hear(Complete())
    steps = await words(exchange)
    assert len(steps) == MOST_WAITING + 1
    assert isinstance(steps[-1], Finished)


async def test_chunks_without_content_are_held_back_but_not_for_ever() -> None:
    exchange, box = opened()
    for _ in range(3):
        exchange.hear(sealed(box, text=""))
    exchange.hear(Failed(error="engine died", status_code=500))
    held = await exchange.opening()
    assert held[-1] == Failure(500, "engine died")
    exchange, box = opened()
    for _ in range(MOST_HELD + 5):
        exchange.hear(sealed(box, text=""))
    assert len(await exchange.opening()) == MOST_HELD + 1


async def test_acceptance_buys_patience() -> None:
    exchange, _ = opened(accept_wait_s=0.0)
    assert await exchange.next() == TIMED_OUT
    exchange, _ = opened(accept_wait_s=10.0, chunk_wait_s=0.0)
    exchange.hear(Accepted())
    assert await exchange.next() == TIMED_OUT


async def test_a_lost_provider_ends_what_was_begun() -> None:
    exchange, box = opened()
    exchange.hear(sealed(box))
    exchange.fail(DISCONNECTED)
    assert (await words(exchange))[-1] == DISCONNECTED


async def test_a_chunk_of_nothing_is_no_step() -> None:
    exchange, box = opened()
    done = box.seal(b"data: [DONE]", bytes(24)).decode()
    assert exchange.hear(
        Chunk(encrypted_data=Box(ephemeral_public_key=NODE.public_key, ciphertext=done))
    )
    exchange.hear(Complete())
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "reasoning_tokens": 0}
    assert await words(exchange) == [Finished(usage)]
