"""Nothing makes the decoder raise; whatever the encoder emits, a coordinator takes."""

import base64
import json
import re
import timeit
from typing import Literal, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from poolhand.agent.wire.codec import (
    MAX_IN_BYTES,
    MAX_OUT_BYTES,
    FrameTooLarge,
    chunk_head,
    decode,
    encode,
    encode_chunk,
)
from poolhand.agent.wire.inbound import (
    SHAPES,
    Cancel,
    Inbound,
    InferenceRequest,
    LoadModel,
    PrefetchModel,
    Unknown,
)
from poolhand.agent.wire.later import LATER
from poolhand.agent.wire.outbound import (
    AttestationResponse,
    Heartbeat,
    InferenceAccepted,
    InferenceComplete,
    InferenceError,
    InferenceResponseChunk,
    LoadModelStatus,
    ModelsUpdate,
    Outbound,
    PrefetchModelStatus,
    Register,
)
from poolhand.agent.wire.types import (
    MAX_INT,
    BackendCapacity,
    Hardware,
    ModelInfo,
    PoolState,
    PrivacyCapabilities,
    Sealed,
    SlotCapacity,
    Stats,
    SystemMetrics,
    Usage,
)
from tests.wire.goldens import CIPHERTEXT, HEARD, KEY, SENT
from tests.wire.malformed import MALFORMED, REFUSABLE
from tests.wire.schema import faults

# ── what may be said ──────────────────────────────────────────────────────────────────

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
counts = st.integers(0, MAX_INT)
amounts = st.floats(0, allow_nan=False, allow_infinity=False)
ratios = st.floats(0, 1)
hashes = st.dictionaries(words, words, max_size=3)


def maybe(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | values


models = st.builds(
    ModelInfo,
    id=words,
    size_bytes=counts,
    quantization=maybe(words),
    weight_hash=maybe(words),
    is_vision=maybe(st.booleans()),
)
pools = st.builds(
    PoolState,
    assigned=maybe(words),
    scope=st.lists(words, max_size=3).map(tuple),
    epoch=counts,
    source=words,
)
slots = st.builds(
    SlotCapacity,
    model=words,
    state=st.sampled_from(["running", "idle", "idle_shutdown", "crashed", "reloading"]),
    num_running=counts,
    num_waiting=counts,
    active_token_budget_max=maybe(counts),
    observed_decode_tps=maybe(amounts),
)
metrics = st.builds(
    SystemMetrics,
    memory_pressure=maybe(ratios),
    cpu_usage=maybe(ratios),
    thermal_state=maybe(st.sampled_from(["nominal", "fair", "serious", "critical"])),
)
sayings: st.SearchStrategy[Outbound] = st.one_of(
    st.builds(
        Register,
        backend=words,
        version=st.just("1.2.3"),
        hardware=st.builds(
            Hardware,
            machine_model=words,
            chip_name=words,
            chip_family=words,
            chip_tier=words,
            memory_gb=counts,
            memory_available_gb=maybe(amounts),
        ),
        models=st.lists(models, max_size=2).map(tuple),
        public_key=words,
        privacy_capabilities=st.builds(PrivacyCapabilities, sip_enabled=maybe(st.booleans())),
        decode_tps=maybe(amounts),
        auth_token=maybe(words.map(SecretStr)),
        pool=maybe(pools),
    ),
    st.builds(
        Heartbeat,
        status=st.sampled_from(["idle", "serving"]),
        active_model=maybe(words),
        warm_models=st.lists(words, max_size=2).map(tuple),
        stats=st.builds(
            Stats, requests_served=counts, tokens_generated=counts, usage_gaps=maybe(counts)
        ),
        system_metrics=maybe(metrics),
        backend_capacity=maybe(
            st.builds(
                BackendCapacity,
                slots=st.lists(slots, max_size=2).map(tuple),
                free_for_load_gb=maybe(amounts),
            )
        ),
        pool=maybe(pools),
    ),
    st.builds(InferenceAccepted, request_id=words),
    st.builds(
        InferenceComplete,
        request_id=words,
        usage=st.builds(Usage, prompt_tokens=counts, completion_tokens=counts),
        se_signature=maybe(words),
    ),
    st.builds(
        InferenceError, request_id=words, error=words, status_code=st.sampled_from([400, 499, 503])
    ),
    st.builds(
        LoadModelStatus,
        model_id=words,
        status=st.sampled_from(["started", "succeeded", "failed"]),
        error=maybe(words),
    ),
    st.builds(
        PrefetchModelStatus,
        model_id=words,
        status=st.sampled_from(["started", "downloading", "verified", "failed"]),
        bytes_done=maybe(counts),
    ),
    st.builds(ModelsUpdate, models=st.lists(models, max_size=2).map(tuple)),
    st.builds(
        AttestationResponse,
        nonce=words,
        signature=words,
        public_key=words,
        sip_enabled=maybe(st.booleans()),
        model_hashes=maybe(hashes),
    ),
)


def respelled(frame: str) -> str:
    """The same JSON as the standard library would write it compactly."""
    return json.dumps(json.loads(frame), separators=(",", ":"), ensure_ascii=False)


def without_numbers(frame: str) -> str:
    return re.sub(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", "0", frame)


@given(message=sayings)
@settings(max_examples=150)
def test_whatever_is_encoded_a_coordinator_takes(message: Outbound) -> None:
    frame = encode(message)
    assert faults(frame) == []
    assert without_numbers(frame) == without_numbers(respelled(frame)), "compact"


@given(message=sayings)
@settings(max_examples=50)
def test_what_is_encoded_says_the_same_each_time(message: Outbound) -> None:
    assert encode(message) == encode(message.model_copy(deep=True))


def test_a_frame_has_a_longest_size() -> None:
    room = MAX_OUT_BYTES - len(encode(InferenceAccepted(request_id="x"))) + 1
    assert len(encode(InferenceAccepted(request_id="x" * room))) == MAX_OUT_BYTES
    with pytest.raises(FrameTooLarge, match=f"{MAX_OUT_BYTES + 1} bytes") as caught:
        encode(InferenceAccepted(request_id="x" * (room + 1)))
    assert caught.value.size_bytes == MAX_OUT_BYTES + 1
    assert isinstance(caught.value, ValueError)


def test_a_frame_is_measured_in_bytes() -> None:
    with pytest.raises(FrameTooLarge):
        encode(InferenceAccepted(request_id="é" * (MAX_OUT_BYTES // 2)))


# ── the short way for chunks ──────────────────────────────────────────────────────────


def chunk(request_id: str, public_key: str, ciphertext: str) -> InferenceResponseChunk:
    sealed = Sealed(ephemeral_public_key=public_key, ciphertext=ciphertext)
    return InferenceResponseChunk(request_id=request_id, encrypted_data=sealed)


@given(request_id=words, public_key=words, sealed=st.binary(max_size=400))
@settings(max_examples=200)
def test_the_short_way_writes_the_same_bytes(
    request_id: str, public_key: str, sealed: bytes
) -> None:
    ciphertext = base64.b64encode(sealed)
    frame = encode_chunk(chunk_head(request_id, public_key), ciphertext).decode()
    assert frame == encode(chunk(request_id, public_key, ciphertext.decode()))
    assert faults(frame) == []


def test_the_short_way_escapes_every_character_alike() -> None:
    every = "".join(map(chr, range(0x3000))) + "\U0001f600\uffff\u2028"
    frame = encode_chunk(chunk_head(every, KEY), CIPHERTEXT.encode())
    assert frame.decode() == encode(chunk(every, KEY, CIPHERTEXT))


@given(
    model=words.filter(bool),
    status=st.sampled_from(["started", "succeeded", "failed"]),
    error=st.none() | words.filter(bool),
)
@settings(max_examples=200)
def test_a_load_that_fails_is_written_as_its_model_writes_it(
    model: str, status: Literal["started", "succeeded", "failed"], error: str | None
) -> None:
    message = LoadModelStatus(model_id=model, status=status, error=error)
    assert encode(message) == message.model_dump_json(exclude_none=True)


def test_the_short_way_has_the_same_limit() -> None:
    with pytest.raises(FrameTooLarge):
        encode_chunk(chunk_head("r", KEY), b"A" * MAX_OUT_BYTES)


def test_the_short_way_is_the_faster_one() -> None:
    def best_s(call: str) -> float:
        names = {"encode": encode, "encode_chunk": encode_chunk, "chunk": chunk}
        given_ = {"id_": "7b1e", "key": KEY, "sealed": CIPHERTEXT * 4}
        given_ |= {"head": chunk_head("7b1e", KEY), "raw": CIPHERTEXT.encode() * 4}
        return min(timeit.repeat(call, globals={**names, **given_}, number=500, repeat=7))

    assert best_s("encode_chunk(head, raw)") < best_s("encode(chunk(id_, key, sealed))")


# ── nothing makes the decoder raise ───────────────────────────────────────────────────

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just("x" * 2000),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = sorted({field for shape in SHAPES.values() for field in shape.model_fields})
FRAMES = [
    *(frame if isinstance(frame, bytes) else frame.encode() for frame in MALFORMED.values()),
    *(frame.encode() for frame in REFUSABLE.values()),
    *(encode(message).encode() for message in SENT.values()),
    b'{"type":"desired_models","models":[{"model_name":"a","desired_build":"b"}]}',
    b'{"type":"inference_request","request_id":"r","encrypted_body":{"ephemeral_public_key":"k"}}',
]
SHORT_FRAMES = [frame for frame in FRAMES if len(frame) < 1000]


def assert_sound(heard: Inbound) -> None:
    """Whatever was heard can be used, echoed and logged."""
    assert isinstance(heard, (*SHAPES.values(), *LATER.values(), Unknown))
    assert repr(heard).isprintable()
    for name in ("request_id", "model_id", "nonce"):
        value = cast("str | None", getattr(heard, name, None))
        if value is not None:
            assert value
            assert faults(encode(InferenceAccepted(request_id=value))) == []


@given(frame=st.binary(max_size=200) | st.text(max_size=200))
@settings(max_examples=150)
def test_any_bytes_are_a_value(frame: bytes | str) -> None:
    assert_sound(decode(frame))


@given(kind=st.sampled_from([*SHAPES, "", "later"]), data=st.data())
@settings(max_examples=200)
def test_any_json_is_a_value(kind: str, data: st.DataObject) -> None:
    fields = data.draw(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=5))
    assert_sound(decode(json.dumps({**fields, "type": kind})))


@given(value=json_values)
@settings(max_examples=50)
def test_json_without_a_type_is_unknown(value: object) -> None:
    if not isinstance(value, dict) or "type" not in value:
        assert isinstance(decode(json.dumps(value)), Unknown)


@given(frame=st.sampled_from(SHORT_FRAMES), data=st.data())
@settings(max_examples=200)
def test_a_damaged_frame_is_a_value(frame: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(frame)))
    until = data.draw(st.integers(at, min(len(frame), at + 5)))
    damaged = frame[:at] + data.draw(st.binary(max_size=5)) + frame[until:]
    assert_sound(decode(damaged))


@given(secret=st.text("qxz", min_size=12, max_size=30), kind=st.sampled_from(sorted(SHAPES)))
@settings(max_examples=60)
def test_a_reason_quotes_nothing(secret: str, kind: str) -> None:
    frames = [
        {**{field: [secret] for field in FIELDS}, secret: secret, "type": kind},
        {"type": kind, "models": [{secret: secret, "desired_build": [secret]}]},
        {"type": f"{secret}!", secret: secret},
    ]
    for frame in (*map(json.dumps, frames), f"{secret}{{", f'"{secret}"'):
        heard = decode(frame)
        if isinstance(heard, Unknown):
            assert secret not in heard.reason
            assert secret not in heard.type


@pytest.mark.parametrize(
    ("frame", "heard"),
    [
        ("", Unknown(type="", reason="not JSON")),
        ("[]", Unknown(type="", reason="not an object")),
        ("{}", Unknown(type="", reason="no type")),
        ('{"type":"provider_drain"}', Unknown(type="provider_drain", reason="unknown type")),
        ('{"type":"a\\nb"}', Unknown(type="", reason="unknown type")),
        ('{"type":"' + "x" * 65 + '"}', Unknown(type="", reason="unknown type")),
        ("\ud800", Unknown(type="", reason="not UTF-8")),
        (
            '{"type":"load_model"}',
            Unknown(type="load_model", reason="model_id: missing"),
        ),
        (
            '{"type":"desired_models","models":[{"model_name":3}]}',
            Unknown(type="desired_models", reason="models.0.model_name: string_type"),
        ),
        ('{"type":"cancel","request_id":"a","request_id":"b"}', Cancel(request_id="b")),
        ('{"type":"load_model","model_id":"\\ud83d\\ude00"}', LoadModel(model_id="😀")),
        (
            '{"type":"prefetch_model","model_id":"m","priority":-9223372036854775808}',
            PrefetchModel(model_id="m", priority=-(2**63)),
        ),
    ],
)
def test_examples(frame: str, heard: Inbound) -> None:
    assert decode(frame) == heard


def test_the_largest_frame_is_read_and_no_larger_one() -> None:
    head, tail = '{"type":"cancel","request_id":"r","pad":"', '"}'
    full = head + "A" * (MAX_IN_BYTES - len(head) - len(tail)) + tail
    assert decode(full) == decode(full.encode()) == Cancel(request_id="r")
    too_large = Unknown(type="", reason="frame too large")
    assert decode(full + " ") == decode(full.encode() + b" ") == too_large
    assert decode("é" * (MAX_IN_BYTES // 2 + 1)) == too_large


def test_a_long_prompt_is_carried_whole() -> None:
    ciphertext = "A" * (22 * 2**20)
    heard = decode(
        '{"type":"inference_request","request_id":"r","encrypted_body":'
        f'{{"ephemeral_public_key":"k","ciphertext":"{ciphertext}"}}}}'
    )
    assert isinstance(heard, InferenceRequest)
    assert heard.encrypted_body is not None
    assert heard.encrypted_body.ciphertext == ciphertext


def test_every_golden_is_sound() -> None:
    for heard in HEARD.values():
        assert_sound(heard)
