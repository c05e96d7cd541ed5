"""What the answers to a read say of the object they are of, which no listing says.

An object that is encrypted with a key of KMS or of the customer's has a tag that looks like an
MD5 and is none. And an answer with the whole of an object may bring a checksum of it; one with
a range brings none, or that of a part.

Source:
    Amazon S3 API reference, "GetObject", on ``x-amz-server-side-encryption`` and
    ``x-amz-checksum-…``; "Object", on ETag; user guide, "Checking object integrity": a composite
    checksum is of the checksums of parts, and ends in ``-`` and how many they are.
"""

from collections.abc import Mapping

from ...config.frozen import frozen

ANSWER = "answer-"
"""How the kind begins of what is told by an answer: ``answer-crc32:<hex>``."""

VEILED = f"{ANSWER}nothing:0"
"""Told of an object by an answer that says that its tag is none of its content."""

_LENGTHS = {"sha256": 32, "sha1": 20, "crc32": 4}
"""Bytes of the checksums that can be found out here, the best first. Others, such as
``crc64nvme``, would take a library: Python's own takes a second for a few MiB of them."""

_CUSTOMER = "x-amz-server-side-encryption-customer-algorithm"


@frozen
class Word:
    """What the answers to the reads of one object said so far.

    Attributes:
        told: A checksum of the whole object, such as ``answer-sha256:<hex>``.
        is_veiled: Whether its tag is none of its content.
    """

    told: str | None = None
    is_veiled: bool = False


def word_of(fields: Mapping[str, str], *, is_whole: bool) -> Word | None:
    """What one answer says; ``None``: nothing.

    Args:
        fields: Its headers, names in lower case.
        is_whole: Whether it brings all of the object.
    """
    veil = fields.get("x-amz-server-side-encryption", "").lower()
    is_veiled = veil.startswith("aws:kms") or _CUSTOMER in fields
    told = _checksum(fields) if is_whole else None
    return Word(told, is_veiled) if told or is_veiled else None


def joined(said: Word | None, now: Word | None) -> Word | None:
    """What two answers say together, of which the first may have broken off."""
    if said is None or now is None:
        return said or now
    return Word(now.told or said.told, said.is_veiled or now.is_veiled)


def is_answers(told: str | None) -> bool:
    """Whether it is a checksum that an answer told."""
    return told is not None and told.startswith(ANSWER) and told != VEILED


def _checksum(fields: Mapping[str, str]) -> str | None:
    kind = fields.get("x-amz-checksum-type")
    # moto's server says neither this nor the ``-n`` of an upload in parts, but that in the tag
    if kind != "FULL_OBJECT" and (kind is not None or "-" in fields.get("etag", "")):
        return None
    for name, length in _LENGTHS.items():
        value = _bytes_of(fields.get(f"x-amz-checksum-{name}", ""))
        if len(value) == length:
            return f"{ANSWER}{name}:{value.hex()}"
    return None


def _bytes_of(text: str) -> bytes:
    if not text:
        return b""
    import binascii  # noqa: PLC0415  # many stores say no such thing

    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:  # composite, or nonsense
        return b""
