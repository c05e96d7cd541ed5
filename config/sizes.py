"""Bytes as people read them."""

_UNITS = ("B", "KiB", "MiB", "GiB")
_STEP = 1024
_MOST = 2**63
"""A number beyond it is no measurement."""


def size(size_bytes: float) -> str:
    """A number of bytes in the largest unit of which it has one.

    Args:
        size_bytes: Less than nothing, and more than there can be, is told as ``?``.
    """
    if not 0 <= size_bytes < _MOST:
        return "?"
    count, unit = float(size_bytes), 0
    while round(count, 1) >= _STEP and unit < len(_UNITS) - 1:
        count, unit = count / _STEP, unit + 1
    return f"{count:.1f} {_UNITS[unit]}" if unit else f"{count:.0f} B"
