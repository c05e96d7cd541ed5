"""Version tags, as stores write them and as they are compared (pure).

A listing may give the tag without its quotes, a proxy may mark it weak, and a small store may
leave it out of its answers: none of that makes it another version.

Source:
    RFC 9110, 8.8.3: an entity tag is a quoted string, ``W/`` before a weak one.
"""

from ...config.patterns import pattern

ETAG = "etag"
"""The kind of what is told by a tag that may be an MD5, and may only look like one."""

PARTS = "parts"
"""How the kind begins of what is told by the tag of an upload in parts."""

_CONTENT = pattern(r'"([0-9a-f]{32})(?:-([1-9][0-9]{0,4}))?"')
"""Source: Amazon S3 API reference, "Object": the MD5 of the content, or of its parts' MD5s."""

_USUAL_MIB = (8, 16, 5, 50, 64, 32, 128, 10, 15, 20, 25, 100, 256, 512, 1024, 2048)
"""Lengths of parts, in the order in which they are tried.

Source: the defaults of the AWS tools and SDKs (8, 5), mc (16), s5cmd (50), rclone (5), s3cmd (15),
and what is doubled where an object would have more than 10,000 parts.
"""

_MOST_LETTERS = 1024
"""A longer one would not fit into a request that every server takes."""


def is_fit(tag: str) -> bool:
    """Whether a tag can be sent back as it is: printable ASCII, and not too much of it."""
    return len(tag) <= _MOST_LETTERS and tag.isascii() and tag.isprintable()


def quoted(tag: str) -> str:
    """The tag in the form that ``If-Match`` wants."""
    return tag if tag.startswith(('"', 'W/"')) else f'"{tag}"'


def is_other(listed: str | None, told: str | None) -> bool:
    """Whether an answer's tag says that it is not the version that was listed.

    Args:
        listed: What the listing said; ``None`` if it said nothing.
        told: What the answer says; ``None`` leaves it to ``If-Match``, which was sent.
    """
    if listed is None or told is None:
        return False
    return _opaque(listed) != _opaque(told)


def _opaque(tag: str) -> str:
    return tag.removeprefix("W/").strip('"')


def told(tag: str, *, size_bytes: int) -> str | None:
    """What a tag of S3's may tell of its object, in the terms of ``RemoteFile.told``.

    Returns:
        ``etag:…`` for a tag that may be the MD5 of the object; ``partsN:…`` for one that may be
        the MD5 of the MD5s of its parts of N bytes; ``None`` for any other.
    """
    if (found := _CONTENT.fullmatch(tag)) is None:
        return None
    parts = found[2]
    if parts is None:
        return f"{ETAG}:{found[1]}"
    part_bytes = _part_bytes(size_bytes, int(parts))
    return None if part_bytes is None else f"{PARTS}{part_bytes}:{found[1]}-{parts}"


def is_of_content(tag: str) -> bool:
    """Whether a tag looks as those of S3 do that are made of the content and of nothing else."""
    return _CONTENT.fullmatch(tag) is not None


def _part_bytes(size_bytes: int, parts: int) -> int | None:
    """How long the parts of an upload probably are: none of them says."""
    for mib in _USUAL_MIB:
        if -(-size_bytes // (mib * 2**20)) == parts:
            return mib * 2**20
    return None
