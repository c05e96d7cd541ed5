"""Which names may be quoted to a coordinator that sorts failures by the words in a text.

A model's id is somebody else's text. Called ``org/panic-7b``, or ``x' is draining``, it would
put a failure into a class that it does not belong to. So a name is quoted only when it is
plainly a name and bears none of the words; the message has a field for the id anyway.
"""

import re

from .patterns import pattern

_NAME = pattern(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]{0,255}")

_SORTED_BY = pattern(
    r"draining|slot|panic|exceeds|token_budget|(?<![a-z])oom(?![a-z])", re.IGNORECASE
)
"""Of all the words that a coordinator sorts by, those that a name can hold: no blanks."""

_FAULTS = pattern(
    r"panic|fatal error|backend crash|internal error|operation couldn.t be completed",
    re.IGNORECASE,
)
"""Words that make a fault of a failure, whatever else its text says."""


def quoted(name: str) -> str:
    """The name in single quotes, or ``'…'`` if it could be taken for anything but a name."""
    is_plain = _NAME.fullmatch(name) is not None and _SORTED_BY.search(name) is None
    return f"'{name}'" if is_plain else "'…'"


def harmless(reason: str) -> str:
    """The reason itself, or ``not understood`` if a coordinator would see a fault in it."""
    return "not understood" if _FAULTS.search(reason) else reason
