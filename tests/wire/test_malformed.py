"""What a broken coordinator sends is a value, and names nothing it was sent."""

import pytest

from poolhand.agent.wire.codec import decode
from poolhand.agent.wire.inbound import InferenceRequest, Unknown
from poolhand.agent.wire.sealing import NodeKey
from poolhand.config.refusals import RequestUnreadable
from tests.wire.malformed import MALFORMED, REFUSABLE

LONGEST_REASON_CHARS = 60


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_frame_is_unknown(name: str) -> None:
    heard = decode(MALFORMED[name])
    assert isinstance(heard, Unknown)
    assert len(heard.reason) <= LONGEST_REASON_CHARS, "our words, not the frame's"
    assert heard.type == "" or heard.type.replace("_", "").isalnum()


@pytest.mark.parametrize("name", REFUSABLE)
def test_a_request_whose_id_can_be_read_can_be_refused(name: str) -> None:
    heard = decode(REFUSABLE[name])
    assert isinstance(heard, InferenceRequest)
    assert heard.has_plain_body is (name == "plain_body")
    if heard.encrypted_body is not None:
        with pytest.raises(RequestUnreadable):
            NodeKey(bytes(range(1, 33))).open_request(heard.encrypted_body)


def test_there_are_enough_kinds_to_mean_something() -> None:
    assert len(MALFORMED) + len(REFUSABLE) >= 45
    assert len({*map(str, MALFORMED.values())}) == len(MALFORMED)
