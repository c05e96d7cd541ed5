"""Frames of a WebSocket's server, as far as they are whole texts (pure).

The library takes each frame through three generators and two objects; of a thousand short ones
that come together, that is half of what it costs to answer them.

Source: RFC 6455, section 5.2.
"""

WHOLE_TEXT = 0x81
"""A text in one frame, without an extension."""

_IS_LAST, _KIND = 0x80, 0x0F
_CONTINUED, _BINARY = 0x00, 0x02
_IS_MASKED, _LENGTH = 0x80, 0x7F
_MIDDLE = 126
_KEY_BYTES = 4


def extent(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the content of the frame that begins at ``at`` begins, and where it ends.

    The end may lie beyond the data. ``None``: not even its head is whole.
    """
    if len(data) < at + 2:
        return None
    second = data[at + 1]
    begin, size_bytes = at + 2, second & _LENGTH
    if size_bytes >= _MIDDLE:
        wide = 2 if size_bytes == _MIDDLE else 8
        if len(data) < begin + wide:
            return None
        size_bytes = int.from_bytes(data[begin : begin + wide], "big")
        begin += wide
    if second & _IS_MASKED:
        begin += _KEY_BYTES  # a server must not, and the library says so
    return begin, begin + size_bytes


def is_plain(data: bytes, at: int) -> bool:
    """Whether the frame that begins at ``at`` is a whole text, sent as a server has to."""
    return data[at] == WHOLE_TEXT and not data[at + 1] & _IS_MASKED


def short_texts(data: bytes, at: int) -> tuple[list[bytes], int]:
    """The plain, whole texts under 126 bytes from ``at`` on, and where the first other frame is.

    Commands are that short, and a thousand of them may come at once.
    """
    texts: list[bytes] = []
    while at + 1 < len(data) and data[at] == WHOLE_TEXT and data[at + 1] < _MIDDLE:
        ends = at + 2 + data[at + 1]
        if ends > len(data):
            break
        texts.append(data[at + 2 : ends])
        at = ends
    return texts, at


def begins_pieces(data: bytes, at: int) -> bool:
    """Whether the frame that begins at ``at`` is the first piece of a message."""
    return not data[at] & _IS_LAST and _CONTINUED < data[at] & _KIND <= _BINARY


def ends_pieces(data: bytes, at: int) -> bool:
    """Whether the frame that begins at ``at`` is the last piece of a message."""
    return bool(data[at] & _IS_LAST) and data[at] & _KIND == _CONTINUED
