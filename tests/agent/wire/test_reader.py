"""A reader says what the codec says, and keeps no more than it may."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.agent.wire.codec import decode
from poolhand.agent.wire.inbound import LoadModel
from poolhand.agent.wire.reader import LONGEST_BYTES, MOST_KEPT, Reader


def load(name: str, **more: object) -> bytes:
    return json.dumps({"type": "load_model", "model_id": name, **more}).encode()


def typed(word: str) -> bytes:
    return json.dumps({"type": word}).encode()


FRAMES = st.one_of(
    st.builds(load, st.sampled_from(["a", "b", "", "x" * 2000])),
    st.sampled_from([b"", b"{}", b'{"type":"load_model"}', b'{"type":"cancel","request_id":"a"}']),
    st.builds(typed, st.text(max_size=9)),
    st.binary(max_size=30),
)


@given(frames=st.lists(FRAMES, max_size=30))
@settings(max_examples=100)
def test_it_reads_what_the_codec_reads(frames: list[bytes]) -> None:
    reader = Reader()
    assert [reader.read(frame) for frame in frames] == [decode(frame) for frame in frames]


def test_the_same_load_is_read_once() -> None:
    reader = Reader()
    first = reader.read(load("org/a"))
    assert reader.read(load("org/a")) is first
    assert reader.read(load("org/b")) == LoadModel(model_id="org/b")


def test_it_forgets_what_is_too_much_and_never_keeps_what_is_long() -> None:
    reader = Reader()
    first = reader.read(load("org/a"))
    for at in range(MOST_KEPT - 1):
        reader.read(load(f"org/b{at}"))
    assert reader.read(load("org/a")) is first
    reader.read(load("one more"))
    assert reader.read(load("org/a")) is not first
    long = load("org/a", more="x" * LONGEST_BYTES)
    assert reader.read(long) is not reader.read(long)


def test_nothing_but_a_load_is_kept() -> None:
    reader, frame = Reader(), b'{"type":"cancel","request_id":"a"}'
    assert reader.read(frame) is not reader.read(frame)
