"""Regular expressions that are compiled when they are first asked something.

One takes up to a millisecond to compile, and most of those that a process knows it never asks.
"""

import re
from typing import AnyStr, Final, cast

_ASKED: Final = ("findall", "finditer", "fullmatch", "match", "search", "split", "sub")


class _Pattern:
    """Stands where the compiled one will be asked; from then on its methods are that one's."""

    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # who copies or inspects is told what it is
            raise AttributeError(name)
        made = re.compile(self._text, self._flags)
        vars(self).update({each: getattr(made, each) for each in _ASKED})
        return getattr(made, name)


def pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """What ``re.compile`` makes of these, as soon as it is asked something."""
    return cast("re.Pattern[AnyStr]", _Pattern(text, flags))
