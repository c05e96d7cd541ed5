"""The points that every node has to keep, whatever coordinator it talks to; one test each.

What only sockets and clocks can show is in ``tests/e2e/test_conformance_io.py``; here stands
the half that can be told without them.
"""

import json
import re

import pytest

from poolhand.agent.core import effects as do
from poolhand.agent.core import events as happened
from poolhand.agent.core.slots import SlotState
from poolhand.agent.wire.codec import MAX_IN_BYTES, chunk_head, decode, encode, encode_chunk
from poolhand.agent.wire.inbound import (
    AttestationChallenge,
    DesiredModels,
    InferenceRequest,
    Unknown,
)
from poolhand.agent.wire.outbound import AttestationResponse, InferenceError, Register
from poolhand.backends.engines.base import Usage
from poolhand.backends.hosts.base import HostFacts, HostSample
from poolhand.backends.stores.base import Progress
from tests.journeys.world import KEY, World, beats, done, only, said, status
from tests.wire.malformed import MALFORMED
from tests.wire.schema import faults


@pytest.fixture
def world() -> World:
    """A node that is known, connected and empty."""
    world = World()
    world.start()
    return world


def hear(world: World, **fields: object) -> list[do.Effect]:
    """One frame, as it comes off the socket."""
    return world.hear(decode(json.dumps(fields)))


def test_point_01_register_comes_first_once_and_with_integers() -> None:
    world = World()
    world.tell(happened.HostKnown(HostFacts("generic", memory_total_bytes=64 * 2**30)))
    frames = [encode(e.message) for e in only(world.connect(), do.Send)]
    kinds = [json.loads(frame)["type"] for frame in frames]
    assert kinds[0] == "register"
    assert re.search(r'"memory_gb":64[,}]', frames[0])
    world.after(60.0)
    sent = [effect.message for effect in only(world.effects, do.Send)]
    assert sum(isinstance(message, Register) for message in sent) == 1


def test_point_02_heartbeats_keep_their_beat_under_load(world: World) -> None:
    """The clocks' half: ``tests/e2e/test_conformance_io.py``."""
    world.resident("org/a")
    world.request("r1", "org/a")
    start_s, at_s = world.now_s, list[float]()
    for tick in range(1, 401):
        world.now_s = start_s + tick * 0.05
        event = happened.WeightsProgressed("org/b", Progress(tick, 400))
        at_s += [world.now_s - start_s for _ in beats(world.tell(event))]
    assert at_s == pytest.approx([5.0, 10.0, 15.0, 20.0])


@pytest.mark.parametrize("state", ["empty", "downloading", "loading", "answering", "draining"])
def test_point_03_a_challenge_is_answered_in_the_same_breath(world: World, state: str) -> None:
    """The socket's half: ``tests/e2e/test_conformance_io.py``."""
    if state in {"downloading", "loading"}:
        world.load_model("org/a")
    if state == "loading":
        world.stage("org/a")
    if state in {"answering", "draining"}:
        world.resident("org/a")
        world.request("r1", "org/a")
    if state == "draining":
        world.tell(happened.StopAsked())
    (answer,) = said(hear(world, type="attestation_challenge", nonce="n" * 44, timestamp="t"))
    assert isinstance(answer, AttestationResponse)
    assert (answer.nonce, answer.public_key) == ("n" * 44, KEY)
    assert answer.signature


def test_point_04_a_frame_of_32_mib_is_read() -> None:
    """That the read loop is never blocked: ``tests/e2e/test_conformance_io.py``."""
    body = {"ephemeral_public_key": KEY, "ciphertext": "A" * (MAX_IN_BYTES - 256)}
    frame = json.dumps({"type": "inference_request", "request_id": "r1", "encrypted_body": body})
    assert MAX_IN_BYTES == 32 * 2**20
    assert MAX_IN_BYTES - 256 < len(frame) <= MAX_IN_BYTES
    assert isinstance(decode(frame), InferenceRequest)


def test_point_05_one_terminal_message_for_each_request(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    world.request("r1", "org/a")
    world.cancel("r1")
    assert len(said(world.answered("r1"))) == 1
    assert said(world.answered("r1")) == []
    assert world.laws.is_square


def test_point_06_chunks_are_sealed_and_name_the_registered_key() -> None:
    """That the relay writes no other: ``tests/e2e/test_conformance_io.py``."""
    world = World()
    (who,) = said(world.start())
    assert isinstance(who, Register)
    assert who.encrypted_response_chunks is True
    frame = encode_chunk(chunk_head("r1", who.public_key), b"AAEC").decode()
    assert faults(frame) == []
    assert json.loads(frame)["encrypted_data"]["ephemeral_public_key"] == who.public_key
    assert "data" not in json.loads(frame)


def test_point_07_a_cancel_of_an_unknown_id_is_silent(world: World) -> None:
    assert hear(world, type="cancel", request_id="never-heard") == []
    world.resident("org/a")
    world.request("r1", "org/a")
    world.answered("r1")
    assert hear(world, type="cancel", request_id="r1") == [], "sent after every request"


def test_point_08_refusals_use_the_words_that_coordinators_sort_by(world: World) -> None:
    text = "model 'org/c' not in advertised model list: outside assigned pool 'tiny'"
    assert said(hear(world, type="load_model", model_id="org/c")) == [
        status("org/c", "failed", text)
    ]
    world.resident("org/a")
    world.request("r1", "org/a")
    world.tell(happened.StopAsked())
    assert said(hear(world, type="load_model", model_id="org/a")) == [
        status("org/a", "failed", "provider draining for update")
    ]


def test_point_09_what_is_not_understood_harms_nobody(world: World) -> None:
    world.resident("org/a")
    before = world.node.snapshot(world.now_s)
    for frame in MALFORMED.values():
        message = decode(frame)
        if isinstance(message, Unknown):
            assert world.hear(message) == []
    assert world.node.standing.unknown_frames >= 30
    assert hear(world, type="something_new", later={"x": 1}) == []
    assert world.node.snapshot(world.now_s) == before
    assert hear(world, type="load_model", model_id="org/a", priority_hint=3)


def test_point_10_a_lost_line_ends_work_and_keeps_models(world: World) -> None:
    world.resident("org/a")
    world.request("r1", "org/a")
    key = world.key("r1")
    assert done(world.drop()) == [do.CancelGeneration(key)]
    effects = world.redial()
    assert beats(effects)[0].warm_models == ("org/a",)
    late = happened.GenerationEnded(key, "cancelled", Usage(1, 1), has_output=True)
    assert said(world.tell(late)) == [], "ids mean nothing beyond their line"
    assert world.state("org/a") == [SlotState.READY]


def test_point_11_an_empty_desired_list_stops_what_is_on_its_way(world: World) -> None:
    entry = {"model_name": "tiny", "desired_build": "org/a"}
    assert done(hear(world, type="desired_models", models=[entry])) == [do.FetchWeights("org/a")]
    assert decode('{"type":"desired_models","models":[]}') == DesiredModels()
    assert done(hear(world, type="desired_models", models=[])) == [do.CancelFetch("org/a")]


def test_point_12_a_cold_request_loads_or_is_refused_with_503(world: World) -> None:
    assert do.FetchWeights("org/a") in world.request("r1", "org/a")
    (refused,) = said(world.request("r2", "org/b"))
    assert isinstance(refused, InferenceError)
    assert refused.status_code == 503
    assert "not loaded" in refused.error


def test_point_13_nothing_is_claimed_that_was_not_measured() -> None:
    world = World()
    world.tell(happened.HostKnown(HostFacts("generic")))
    world.tell(happened.LinkOpened(1))
    effects = world.tell(happened.HostSampled(HostSample()))
    frames = [json.loads(encode(effect.message)) for effect in only(world.effects, do.Send)]
    assert effects == []
    who, beat = frames
    assert not {"decode_tps", "prefill_tps", "attestation", "template_hashes"} & set(who)
    assert "memory_available_gb" not in who["hardware"]
    assert set(beat["system_metrics"]) == set()
    assert set(beat["backend_capacity"]) == {"slots"}
    assert beat["active_model"] is None


def test_point_14_no_security_fact_is_claimed_that_was_not_measured(world: World) -> None:
    (answer,) = said(world.hear(AttestationChallenge(nonce="n" * 44)))
    fields = json.loads(encode(answer))
    assert not {"sip_enabled", "secure_boot_enabled", "model_hashes"} & set(fields)
    assert fields["rdma_disabled"] is True, "that one was"
    registered = next(e.message for e in only(world.effects, do.Send))
    assert isinstance(registered, Register)
    assert registered.privacy_capabilities.text_backend_inprocess is False, "as it was found"
