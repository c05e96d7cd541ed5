"""A provider's record: what it said, when, and what a coordinator makes of it."""

import json

from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.dev.classes import LoadClass
from poolhand.agent.dev.provider import (
    TIMEOUTS_TO_CLOSE,
    Challenge,
    Provider,
    RequestRecord,
    is_key,
    residents,
)
from poolhand.agent.dev.strict import (
    Accepted,
    ChallengeAnswer,
    Chunk,
    Complete,
    Failed,
    Heartbeat,
    LoadStatus,
    Model,
    PrefetchStatus,
    Register,
)

KEY = "B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw="


def provider(**fields: object) -> Provider:
    made = Provider(id="p", connected_s=0.0)
    told = {"public_key": KEY, "encrypted_response_chunks": True, "models": [{"id": "a"}], **fields}
    made.hear_register(Register.model_validate(told), told, 1.0)
    return made


def record() -> RequestRecord:
    return RequestRecord(request_id="r", provider_id="p", model="a", started_s=0.0)


def test_work_goes_only_to_who_can_open_and_seal_a_box() -> None:
    assert provider().is_usable
    assert not Provider(id="p", connected_s=0.0).is_usable
    assert not provider(public_key="short").is_usable
    assert not provider(encrypted_response_chunks=False).is_usable
    breached = provider()
    breached.untrusted = "chunk in the clear"
    assert not breached.is_usable


def test_the_token_is_shown_as_a_word() -> None:
    word = "open sesame"
    linked = provider(auth_token=word)
    assert linked.shown.items() >= {"auth_token": "present"}.items()
    assert provider().shown.items() >= {"auth_token": "absent"}.items()
    assert word not in repr(linked)


def test_gaps_are_measured_from_one_arrival_to_the_next() -> None:
    made = provider()
    for now_s in (2.0, 7.0, 11.5):
        made.hear_heartbeat(Heartbeat(warm_models=["a"]), {}, now_s)
    assert list(made.gaps_s) == [5.0, 4.5]
    assert (made.heartbeats, made.heartbeat_s, made.resident) == (3, 11.5, {"a"})


def test_slots_outweigh_the_list_of_warm_models() -> None:
    slots = [{"model": state or "empty", "state": state} for state in ("running", "idle", "")]
    slots += [
        {"model": state, "state": state} for state in ("crashed", "reloading", "idle_shutdown")
    ]
    told = Heartbeat.model_validate({"warm_models": ["w"], "backend_capacity": {"slots": slots}})
    assert residents(told) == {"running", "idle", "empty"}
    assert residents(Heartbeat.model_validate({"warm_models": ["w"]})) == {"w"}
    assert residents(Heartbeat.model_validate({"backend_capacity": {}})) == set()


def test_a_load_that_succeeded_is_warm_at_once_and_no_longer_pending() -> None:
    made = provider()
    made.pending["a"] = 120.0
    assert made.has_pending(119.0)
    assert not made.has_pending(121.0)
    made.hear_status(LoadStatus(model_id="a", status="started"), 2.0)
    assert made.pending
    made.hear_status(LoadStatus(model_id="a", status="succeeded"), 3.0)
    assert (made.pending, made.resident) == ({}, {"a"})


def test_a_load_that_failed_is_classified_and_a_download_is_only_noted() -> None:
    made = provider()
    made.pending["a"] = 120.0
    failed = made.hear_status(LoadStatus(model_id="a", status="failed", error="not found"), 2.0)
    assert (failed.load_class, made.pending) == (LoadClass.MODEL_NOT_FOUND, {})
    fetched = made.hear_status(
        PrefetchStatus(model_id="a", status="downloading", bytes_done=1, bytes_total=2), 3.0
    )
    assert (fetched.kind, fetched.bytes_done, fetched.load_class) == ("prefetch", 1, None)
    assert made.resident == set()
    assert [each.kind for each in made.statuses] == ["load", "prefetch"]


def test_an_answer_to_a_challenge_is_judged_once() -> None:
    made = provider()
    made.challenges.extend(Challenge(nonce=str(number), sent_s=0.0) for number in range(3))

    def verdict(nonce: str, key: str = KEY, signature: str = "s") -> str | None:
        answer = ChallengeAnswer.model_validate(
            {"nonce": nonce, "public_key": key, "signature": signature}
        )
        judged = made.hear_challenge_answer(answer, 1.5)
        return judged and judged.verdict

    assert verdict("unknown") is None
    assert verdict("0") == "passed"
    assert verdict("0") is None
    assert verdict("1", key="other") == "public key differs"
    assert verdict("2", signature="") == "empty signature"
    assert made.challenges[0].answered_s == 1.5
    assert made.challenges[0].reported["sip_enabled"] is None


def test_six_silences_in_a_row_and_no_fewer_are_too_many() -> None:
    made = provider()
    for number in range(TIMEOUTS_TO_CLOSE):
        assert not made.is_silent
        made.challenges.append(Challenge(nonce=str(number), sent_s=0.0, verdict="timeout"))
    assert made.is_silent
    made.challenges.append(Challenge(nonce="n", sent_s=0.0, verdict="passed"))
    assert not made.is_silent


def test_models_come_and_none_goes() -> None:
    made = provider()
    made.hear_models([Model(id="b"), Model(id=""), Model(id="a", size_bytes=9)])
    assert sorted(made.models) == ["a", "b"]
    assert made.models["a"].size_bytes == 9


def test_the_view_is_json() -> None:
    made = provider()
    made.drop("?: not JSON")
    view = json.loads(json.dumps(made.view()))
    assert (view["dropped"], view["drops"]) == (1, ["?: not JSON"])
    assert view["register"]["models"] == [{"id": "a"}]


def test_a_request_is_told_by_its_first_terminal_frame() -> None:
    told = record()
    told.hear(Accepted(), 1.0)
    told.hear(Chunk(), 2.0)
    assert told.state == "streaming"
    told.hear(Complete.model_validate({"usage": {"completion_tokens": 3}}), 3.0)
    told.hear(Failed(error="engine died", status_code=500), 4.0)
    told.hear(Chunk(), 5.0)
    assert (told.state, told.ended_s, told.error) == ("complete", 3.0, "")
    assert (told.terminals, told.late_frames) == (2, 2)
    assert told.usage is not None
    assert told.usage["completion_tokens"] == 3


def test_a_cancelled_request_still_tells_how_it_ended() -> None:
    told = record()
    told.cancel(1.0)
    told.hear(Failed(error="request cancelled", status_code=499), 1.2)
    assert (told.state, told.status_code, told.cancelled_s, told.ended_s) == (
        "cancelled",
        499,
        1.0,
        1.2,
    )
    assert told.late_frames == 0


def test_a_finished_or_lost_request_cannot_be_cancelled() -> None:
    told = record()
    told.hear(Complete(), 1.0)
    told.cancel(2.0)
    told.fail("lost", 3.0)
    assert (told.state, told.cancelled_s) == ("complete", None)
    lost = record()
    lost.fail("lost", 1.0)
    lost.cancel(2.0)
    assert (lost.state, lost.cancelled_s) == ("lost", None)


FRAMES = st.sampled_from([Accepted(), Chunk(), Complete(), Failed(status_code=503)])


@given(st.lists(FRAMES))
def test_frames_are_counted_whatever_their_order(
    frames: list[Accepted | Chunk | Complete | Failed],
) -> None:
    told = record()
    for frame in frames:
        told.hear(frame, 1.0)
    assert told.accepted + told.chunks + told.terminals == len(frames)
    ends = [number for number, frame in enumerate(frames) if isinstance(frame, Complete | Failed)]
    assert told.late_frames == (len(frames) - ends[0] - 1 if ends else 0)


@given(st.text())
def test_no_text_is_mistaken_for_a_key(text: str) -> None:
    assert not is_key(text) or len(text) == 44
    assert is_key(KEY)
