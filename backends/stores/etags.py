"""Version tags, as stores write them and as they are compared (pure).

A listing may give the tag without its quotes, a proxy may mark it weak, and a small store may
leave it out of its answers: none of that makes it another version.

Source:
    RFC 9110, 8.8.3: an entity tag is a quoted string, ``W/`` before a weak one.
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
