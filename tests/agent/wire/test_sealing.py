"""The box of the protocol, byte for byte; what does not open costs one request."""

import base64

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nacl.public import Box, PrivateKey, PublicKey
from nacl.signing import SigningKey

from poolhand.agent.wire.sealing import NONCE_BYTES, NodeKey, RequestBox, sign_challenge
from poolhand.agent.wire.types import Sealed
from poolhand.config.refusals import RequestUnreadable

OURS = bytes(range(0x01, 0x21))
THEIRS = bytes(range(0x21, 0x41))
NONCE = bytes(range(24))
PLAIN = b'{"model":"org/toy-a"}'
PUBLIC = "B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw="
PEER = "WGmv9FBUlzLLqu1eXfmzCm2jHLDldCutWtShp2jxpns="
CIPHERTEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX964ne5h9GDT9G1tvzbkKL2nXtjY+WBHww9AucZhtZdIMJ3UkHg=="
KEY = NodeKey(OURS)


def opened() -> tuple[bytes, RequestBox]:
    return KEY.open_request(Sealed(ephemeral_public_key=PEER, ciphertext=CIPHERTEXT))


def test_the_vector_opens() -> None:
    assert KEY.public_key == PUBLIC
    assert base64.b64encode(bytes(PrivateKey(THEIRS).public_key)).decode() == PEER
    assert opened()[0] == PLAIN


def test_the_vector_seals() -> None:
    assert opened()[1].seal(PLAIN, NONCE) == CIPHERTEXT.encode()


@given(line=st.binary(max_size=400), nonce=st.binary(min_size=24, max_size=24))
@settings(max_examples=50)
def test_the_coordinator_opens_every_chunk_with_the_registered_key(
    line: bytes, nonce: bytes
) -> None:
    raw = base64.b64decode(opened()[1].seal(line, nonce), validate=True)
    assert raw[:NONCE_BYTES] == nonce
    coordinator = Box(PrivateKey(THEIRS), PublicKey(base64.b64decode(KEY.public_key)))
    assert coordinator.decrypt(raw) == line


@pytest.mark.parametrize("length", [0, 23, 25, 32])
def test_a_nonce_has_24_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="24 bytes"):
        opened()[1].seal(PLAIN, bytes(length))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "ephemeral_public_key has not 32 bytes"),
        ("AAAA", "ephemeral_public_key has not 32 bytes"),
        (PEER[:-1], "ephemeral_public_key is no base64"),
        (PEER.replace("9", "-"), "ephemeral_public_key is no base64"),
        (PEER + "\n", "ephemeral_public_key is no base64"),
        ("ключ", "ephemeral_public_key is no base64"),
        ("A" * 43 + "=", "ciphertext does not open"),
        (PUBLIC, "ciphertext does not open"),
    ],
)
def test_a_key_that_is_none(key: str, reason: str) -> None:
    with pytest.raises(RequestUnreadable) as caught:
        KEY.open_request(Sealed(ephemeral_public_key=key, ciphertext=CIPHERTEXT))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("ciphertext", "reason"),
    [
        ("", "ciphertext does not open"),
        ("AAAA", "ciphertext does not open"),
        ("A" * 32, "ciphertext does not open"),
        ("A" * 52, "ciphertext does not open"),
        (CIPHERTEXT[:-2], "ciphertext is no base64"),
        (CIPHERTEXT[:9] + " " + CIPHERTEXT[9:], "ciphertext is no base64"),
        ("%", "ciphertext is no base64"),
        ("\ud800", "ciphertext is no base64"),
    ],
)
def test_a_ciphertext_that_is_none(ciphertext: str, reason: str) -> None:
    with pytest.raises(RequestUnreadable) as caught:
        KEY.open_request(Sealed(ephemeral_public_key=PEER, ciphertext=ciphertext))
    assert caught.value.reason == reason


@given(at=st.integers(0, 8 * len(base64.b64decode(CIPHERTEXT)) - 1))
@settings(max_examples=60)
def test_one_changed_bit_closes_the_box(at: int) -> None:
    raw = bytearray(base64.b64decode(CIPHERTEXT))
    raw[at // 8] ^= 1 << at % 8
    changed = base64.b64encode(raw).decode()
    with pytest.raises(RequestUnreadable):
        KEY.open_request(Sealed(ephemeral_public_key=PEER, ciphertext=changed))


@given(key=st.text(max_size=50), ciphertext=st.text(max_size=100))
@example(key=PEER, ciphertext="=" * 4)
@settings(max_examples=100)
def test_nothing_else_is_ever_raised(key: str, ciphertext: str) -> None:
    with pytest.raises(RequestUnreadable):
        KEY.open_request(Sealed(ephemeral_public_key=key, ciphertext=ciphertext))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_secret_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        NodeKey(bytes(length))
    with pytest.raises(ValueError, match="32 bytes"):
        sign_challenge(bytes(length), "n", "t")


def test_a_key_shows_its_public_half_alone() -> None:
    assert repr(KEY) == str(KEY) == f"NodeKey(public_key='{PUBLIC}')"
    assert "Box object" in repr(opened()[1])


def test_a_signature_covers_nonce_and_time() -> None:
    signature = sign_challenge(OURS, "bm9uY2U=", "2026-06-21T06:40:57Z")
    SigningKey(OURS).verify_key.verify(
        b"bm9uY2U=2026-06-21T06:40:57Z", base64.b64decode(signature, validate=True)
    )
    assert signature != sign_challenge(OURS, "bm9uY2U=", "2026-06-21T06:40:58Z")
    assert sign_challenge(OURS, "", "") != ""
