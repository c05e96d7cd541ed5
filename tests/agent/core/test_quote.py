"""A probe is answered as its request would be, and tells nothing of what was not measured."""

from dataclasses import replace

import pytest

from poolhand.agent.core.events import RequestKey
from poolhand.agent.core.measured import Measured, Measurements
from poolhand.agent.core.quote import quote
from poolhand.agent.core.report import Snapshot
from poolhand.agent.core.requests import Entry, RequestState
from poolhand.agent.wire.inbound import InferenceRequest
from poolhand.agent.wire.later import CapacityProbe, CapacityQuote
from poolhand.backends.engines.base import Load
from poolhand.backends.stores.base import Stock
from tests.agent.core.test_report import BARE, FULL
from tests.journeys.world import GIB, SEALED, World, said, sample, settings

A = "org/a"
LOAD = Load(running=1, max_running=8, budget_used_tokens=1000, budget_max_tokens=4000)
WARM = replace(FULL, loads={A: LOAD})
COLD = replace(FULL, stays=(), stocks={A: Stock(A, "here", 4 * GIB, 4 * GIB)})
ASKED = Entry(RequestKey(1, "r"), RequestState.RUNNING, 0.0, A, 8)


def probe(model: str = A, tokens: int = 576, **fields: object) -> CapacityProbe:
    shape = {"prompt_tokens_bucket": 512, "max_output_tokens": tokens - 512}
    return CapacityProbe.model_validate({"quote_id": "q", "model": model, **shape, **fields})


def known(took_s: float) -> Measurements:
    found = Measurements()
    found.recalled([Measured(A, 1, 1, 1, None, took_s)])
    return found


def asked(node: Snapshot, probe: CapacityProbe, took_s: float | None = None) -> CapacityQuote:
    return quote(node, probe, Measurements() if took_s is None else known(took_s))


def test_a_warm_model_with_room_takes_it() -> None:
    assert asked(WARM, probe()) == CapacityQuote(
        quote_id="q", admissible_now=True, available_token_budget=3000
    )
    assert asked(FULL, probe()).available_token_budget is None, "nothing was measured"


@pytest.mark.parametrize(
    ("node", "asks", "reason"),
    [
        (WARM, probe("org/c"), "slot_state"),
        (replace(WARM, is_draining=True), probe(), "slot_state"),
        (replace(WARM, settings=settings(requests={"max_concurrent": 1}), requests=(ASKED,)),
         probe(), "slot_state"),
        (WARM, probe(requires_vision=True), "capability"),
        (WARM, probe(tokens=3001), "token_budget"),
        (WARM, probe(tokens=4001), "kv_headroom"),
        (replace(WARM, loads={A: replace(LOAD, running=8)}), probe(), "token_budget"),
        (replace(COLD, stocks={}), probe(), "slot_state"),
        (BARE, probe(), "slot_state"),
        (replace(COLD, sample=sample(4 * GIB)), probe(), "memory_cap"),
        (COLD, probe(deadline_remaining_ms=5000), "deadline"),
    ],
)  # fmt: skip
def test_why_it_would_not_be_taken(node: Snapshot, asks: CapacityProbe, reason: str) -> None:
    answer = asked(node, asks)
    assert (answer.admissible_now, answer.rejection_reason) == (False, reason)


def test_a_cold_model_is_promised_only_as_soon_as_it_was_measured_to_come() -> None:
    assert asked(COLD, probe(deadline_remaining_ms=5000), took_s=4.9).admissible_now
    assert not asked(COLD, probe(deadline_remaining_ms=5000), took_s=5.1).admissible_now
    assert asked(COLD, probe(), took_s=500.0).admissible_now, "it was not said by when"


def test_a_quote_agrees_with_what_then_happens() -> None:
    world = World()
    world.start()
    world.resident(A)
    (answer,) = said(world.hear(probe()))
    assert isinstance(answer, CapacityQuote)
    assert answer.admissible_now
    asks = InferenceRequest(request_id="r", encrypted_body=SEALED)
    assert said(world.hear(asks)) == [], "it is opened, not refused"
    assert isinstance(said(world.hear(probe("org/c")))[0], CapacityQuote), "each is answered"
