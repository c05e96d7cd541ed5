"""What the headers of an answer say of its object."""

import base64
import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.answers import VEILED, Word, is_answers, joined, word_of
from poolhand.agent.weights.told import both

DATA = b"weights"
SHA256 = hashlib.sha256(DATA)
CRC32 = zlib.crc32(DATA).to_bytes(4, "big")


def text(checksum: bytes) -> str:
    return base64.b64encode(checksum).decode()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, None),
        ({"x-amz-checksum-crc32": text(CRC32)}, f"answer-crc32:{CRC32.hex()}"),
        (
            {"x-amz-checksum-crc32": text(CRC32), "x-amz-checksum-sha256": text(SHA256.digest())},
            f"answer-sha256:{SHA256.hexdigest()}",
        ),
        ({"x-amz-checksum-crc32": text(CRC32), "x-amz-checksum-type": "COMPOSITE"}, None),
        ({"x-amz-checksum-sha256": text(SHA256.digest()) + "-3"}, None),
        ({"x-amz-checksum-crc32": text(CRC32), "etag": '"0f-3"'}, None),
        (
            {
                "x-amz-checksum-crc32": text(CRC32),
                "x-amz-checksum-type": "FULL_OBJECT",
                "etag": '"0f-3"',
            },
            f"answer-crc32:{CRC32.hex()}",
        ),
        ({"x-amz-checksum-crc64nvme": text(b"12345678")}, None),
        ({"x-amz-checksum-crc32": "nonsense"}, None),
        ({"x-amz-checksum-crc32": text(SHA256.digest())}, None),
    ],
)
def test_a_checksum_of_the_whole(fields: dict[str, str], told: str | None) -> None:
    assert word_of(fields, is_whole=True) == (None if told is None else Word(told))
    assert word_of(fields, is_whole=False) is None, "a range may bring that of a part"
    assert told is None or is_answers(told)


@pytest.mark.parametrize(
    ("name", "value", "is_veiled"),
    [
        ("x-amz-server-side-encryption", "AES256", False),
        ("x-amz-server-side-encryption", "aws:kms", True),
        ("x-amz-server-side-encryption", "aws:kms:dsse", True),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256", True),
    ],
)
def test_an_encryption_that_makes_tags_of_its_own(name: str, value: str, is_veiled: bool) -> None:  # noqa: FBT001  # a table
    word = word_of({name: value}, is_whole=False)
    assert (word is not None and word.is_veiled) == is_veiled
    assert not is_answers(VEILED)


def test_what_an_answer_said_that_broke_off_counts_still() -> None:
    both_of_it = Word("answer-crc32:0", is_veiled=True)
    assert joined(Word("answer-crc32:0"), Word(is_veiled=True)) == both_of_it
    assert joined(None, Word("a")) == joined(Word("a"), None) == Word("a")


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_what_is_told_can_be_found_out(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    crc = zlib.crc32(data).to_bytes(4, "big")
    for kind, checksum in (("crc32", crc), ("sha1", hashlib.sha1(data).digest())):  # noqa: S324  # as stores do
        word = word_of({f"x-amz-checksum-{kind}": text(checksum)}, is_whole=True)
        assert word is not None
        assert word.told is not None
        taken = both(word.told, size_bytes=len(data))
        for piece in pieces:
            taken.copy().update(b"what a copy takes is its own")
            taken.update(piece)
        assert taken.told() == word.told
