"""A request's way through the node."""

import pytest

from poolhand.agent.core import effects as do
from poolhand.agent.core.answers import Answers
from poolhand.agent.core.events import GenerationEnded, RequestKey, RequestOpened
from poolhand.agent.core.loads import Loads, Said
from poolhand.agent.core.pool import pool_of
from poolhand.agent.core.requests import RequestState
from poolhand.agent.core.stays import LoadEnded
from poolhand.agent.wire.inbound import InferenceRequest
from poolhand.agent.wire.outbound import InferenceAccepted, InferenceError, Outbound
from poolhand.backends.engines.base import Loaded, Usage
from poolhand.backends.engines.errors import EngineDied
from poolhand.config.errors import AgentError
from poolhand.config.refusals import NodeDraining, RequestUnreadable, SlotsBusy
from tests.journeys.world import GIB, SEALED, build, settings

KEY = RequestKey(1, "r1")
REQUEST = InferenceRequest(request_id="r1", encrypted_body=SEALED)
DEAD = EngineDied(engine="mlx", exit_code=1)
ACCEPTED = do.Send(1, InferenceAccepted(request_id="r1"))


def answers(*, is_ready: bool = True, most: int = 24) -> Answers:
    chosen = settings(requests={"max_concurrent": most, "default_max_tokens": 99})
    loads = Loads(chosen, pool_of(chosen, machine_id="m"))
    if is_ready:
        loads.asked("org/a", frozenset(), 0.0)
        loads.came(loads.stays.fetched("org/a", 0.0))
        loads.verified("org/a", build("org/a"), 0.0)
        loads.stays.settle(slots=1, busy=(), free_bytes=lambda: 64 * GIB, now_s=0.0)
        loads.stays.loaded("org/a", Loaded(1.0, 1, 1), 0.0)
    return Answers(loads)


def opened(here: Answers, word: str = "r1", model: str = "org/a") -> list[Said]:
    key = RequestKey(1, word)
    here.heard(1, InferenceRequest(request_id=word, encrypted_body=SEALED), 1.0)
    return here.opened(RequestOpened(key, model, 64), 1.0)


def told(said: list[Said]) -> list[Outbound]:
    return [one.message for one in said if isinstance(one, do.Send)]


def code(said: list[Said]) -> int:
    (message,) = told(said)
    assert isinstance(message, InferenceError)
    return message.status_code


def test_a_sealed_request_is_opened_once() -> None:
    here = answers()
    assert here.heard(1, REQUEST, 1.0) == [do.OpenRequest(KEY, REQUEST)]
    assert here.heard(1, REQUEST, 1.0) == []


@pytest.mark.parametrize(
    "request_", [InferenceRequest(request_id="r1", has_plain_body=True), REQUEST]
)
def test_a_draining_node_opens_nothing(request_: InferenceRequest) -> None:
    chosen = settings()
    loads = Loads(chosen, pool_of(chosen, machine_id="m"))
    loads.empty(NodeDraining(), frozenset(), 1.0)
    assert code(Answers(loads).heard(1, request_, 1.0)) == 503


@pytest.mark.parametrize(
    "request_",
    [
        InferenceRequest(request_id="r1", has_plain_body=True),
        InferenceRequest(request_id="r1", has_plain_body=True, encrypted_body=SEALED),
        InferenceRequest(request_id="r1"),
    ],
)
def test_what_is_not_sealed_is_refused(request_: InferenceRequest) -> None:
    here = answers()
    assert code(here.heard(1, request_, 1.0)) == 400
    assert len(here.ledger) == 0


def test_no_more_than_the_operator_wants() -> None:
    here = answers(most=1)
    opened(here)
    other = InferenceRequest(request_id="r2", encrypted_body=SEALED)
    assert code(here.heard(1, other, 1.0)) == 503
    assert len(here.ledger) == 1


def test_a_ready_model_starts_at_once() -> None:
    here = answers()
    assert opened(here) == [ACCEPTED, do.StartGeneration(KEY, "org/a", 64)]
    assert here.opened(RequestOpened(KEY, "org/a", 64), 1.0) == [], "once"


def test_an_answer_without_a_length_gets_the_operators() -> None:
    here = answers()
    here.heard(1, REQUEST, 1.0)
    (_, start) = here.opened(RequestOpened(KEY, "org/a"), 1.0)
    assert start == do.StartGeneration(KEY, "org/a", 99)


def test_a_cold_model_is_brought_and_then_everyone_starts() -> None:
    here = answers(is_ready=False)
    assert opened(here) == [ACCEPTED, do.FetchWeights("org/a")]
    assert told(opened(here, "r2")) == [InferenceAccepted(request_id="r2")]
    started = here.loaded(LoadEnded("org/a", 0, None))
    assert [type(one) for one in started] == [do.StartGeneration] * 2
    assert here.loaded(LoadEnded("org/a", 0, None)) == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DEAD, "model 'org/a' not loaded: model load failed: engine_died"),
        (NodeDraining(), "provider draining for update"),
        (
            SlotsBusy(model="org/a", slots=1),
            "model 'org/a' not loaded: all 1 model slot(s) are active",
        ),
    ],
)
def test_who_waits_in_vain_is_sent_elsewhere(error: AgentError, text: str) -> None:
    here = answers(is_ready=False)
    opened(here)
    forget, _ = said = here.loaded(LoadEnded("org/a", 0, error))
    assert forget == do.ForgetRequest(KEY)
    (message,) = told(said)
    assert isinstance(message, InferenceError)
    assert (message.status_code, message.error) == (503, text)
    assert len(here.ledger) == 0


def test_outside_the_pool_is_never_accepted() -> None:
    here = answers()
    said = opened(here, model="org/c")
    assert said[0] == do.ForgetRequest(KEY)
    assert code(said) == 503


def test_what_cannot_be_read_is_refused_once() -> None:
    here = answers()
    error = RequestUnreadable(reason="no JSON")
    assert here.unreadable(KEY, error) == []
    here.heard(1, REQUEST, 1.0)
    assert code(here.unreadable(KEY, error)) == 400
    assert here.unreadable(KEY, error) == []
    opened(here)
    assert here.unreadable(KEY, error) == [], "it was readable"


def test_what_ended_meanwhile_is_forgotten_when_it_is_open() -> None:
    assert answers().opened(RequestOpened(KEY, "org/a"), 1.0) == [do.ForgetRequest(KEY)]


def test_a_cancel_in_each_state() -> None:
    here = answers(is_ready=False)
    assert here.cancelled(KEY) == []
    here.heard(1, REQUEST, 1.0)
    assert code(here.cancelled(KEY)) == 499
    opened(here)
    assert code(here.cancelled(KEY)) == 499
    opened(here)
    here.loaded(LoadEnded("org/a", 0, None))
    assert here.cancelled(KEY) == [do.CancelGeneration(KEY)]
    assert here.cancelled(KEY) == []
    stats = here.ledger.stats()
    assert (stats.cancellations_received, stats.cancellations_before_output) == (4, 2)
    assert stats.cancel_during_model_load == 1


def test_an_end_is_told_where_it_was_asked_and_the_resident_is_used() -> None:
    here = answers()
    opened(here)
    ended = GenerationEnded(KEY, "complete", Usage(1, 2), has_output=True)
    (sent,) = here.ended(ended, 7.0)
    assert isinstance(sent, do.Send)
    assert sent.line == 1
    assert here.ended(ended, 8.0) == []
    assert here.ledger.busy() == frozenset()


def test_a_lost_line_cancels_what_runs_and_forgets_the_rest() -> None:
    here = answers()
    opened(here, "r1")
    here.heard(1, InferenceRequest(request_id="r2", encrypted_body=SEALED), 1.0)
    assert here.line_lost(1, 2.0) == [
        do.CancelGeneration(KEY),
        do.ForgetRequest(RequestKey(1, "r2")),
    ]
    (entry,) = here.ledger.entries()
    assert entry.state is RequestState.ENDING
    assert here.line_lost(1, 2.0) == [], "it is cancelled once"


def test_another_lines_requests_are_left_alone() -> None:
    here = answers()
    here.heard(2, REQUEST, 1.0)
    assert here.line_lost(1, 2.0) == []
    assert len(here.ledger) == 1


def test_turning_away_spares_whoever_is_being_answered() -> None:
    here = answers()
    opened(here, "r1")
    here.heard(1, InferenceRequest(request_id="r2", encrypted_body=SEALED), 1.0)
    said = here.turn_away(NodeDraining())
    assert said[0] == do.ForgetRequest(RequestKey(1, "r2"))
    assert code(said) == 503
    assert here.ledger.stats().cancellations_before_output == 0
    assert here.stop_all() == [do.CancelGeneration(KEY)]
    assert here.stop_all() == []


def test_stopping_all_ends_those_that_have_not_begun_too() -> None:
    here = answers()
    here.heard(1, REQUEST, 1.0)
    assert told(here.stop_all())[0] == here.ledger.refuse(KEY, NodeDraining())
