"""A parser that says what a mistyped word may have been."""

import os
import re
import sys
from argparse import ArgumentParser, HelpFormatter, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn, cast

_CHOICE = re.compile(r"(argument .*: invalid choice: '(.*)') \(choose from .*\)", re.DOTALL)
_MISSING = "the following arguments are required"


class Parser(ArgumentParser):
    """Takes no abbreviations; each verb below it is a parser like it.

    Attributes:
        words: What it is going to read, if that is known: other verbs need no parser then.
    """

    words: Sequence[str] = ()

    def read(self, words: Sequence[str]) -> Namespace:
        """The arguments; a word that nobody knows is told by the verb that was meant.

        Raises:
            SystemExit: With 2; or with 0, when help or the version was asked for.
        """
        args, unknown = self.parse_known_args(words)
        if unknown:
            self.meant(words).refuse(unknown)
        return args

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and which word comes near or could stand there; ends with 2."""
        choices = self._choices()
        if (found := _CHOICE.fullmatch(message)) is not None:
            message = f"{found[1]}{_near(found[2], choices)}"
        elif choices and message.startswith(_MISSING):
            message += f" (choose from {', '.join(choices)})"
        super().error(message)

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Say that these words are none of its own; ends with 2."""
        flags = [word for action in self._actions for word in action.option_strings]
        self.error(f"unrecognized arguments: {' '.join(unknown)}{_near(unknown[0], flags)}")

    def _choices(self) -> list[str]:
        """The words that this parser has a choice among."""
        every = [cast("Iterable[object]", one.choices) for one in self._actions if one.choices]
        return [str(word) for choices in every for word in choices]

    def _get_formatter(self) -> HelpFormatter:
        # asked for at every start, for the command's name; left to find out how wide the terminal
        # is, it would import what packs archives
        keeps_lines = self.formatter_class is RawDescriptionHelpFormatter
        made = RawDescriptionHelpFormatter if keeps_lines else HelpFormatter
        return made(self.prog, width=_columns() - 2)

    def meant(self, words: Sequence[str]) -> "Parser":
        """The parser of the innermost verb that these words name."""
        for action in self._actions:
            inner = cast("object", action.choices)
            if isinstance(inner, Mapping):
                verbs = cast("Mapping[str, Parser]", inner)
                at = next((nth for nth, word in enumerate(words) if word in verbs), None)
                if at is not None:
                    return verbs[words[at]].meant(words[at + 1 :])
        return self


def _near(word: str, known: Sequence[str]) -> str:
    """What the word may have been; else all that there is, if it is no flag."""
    from difflib import get_close_matches  # noqa: PLC0415  # only where there is a mistake

    close = get_close_matches(word, known, 1, 0.6)
    if close:
        return f" (did you mean {close[0]}?)"
    return "" if word.startswith("-") else f" (choose from {', '.join(known)})"


def open_streams() -> None:
    """Have both streams take whatever is said: one that is closed, or knows few letters."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  # to the end
        elif callable(reconfigure := getattr(stream, "reconfigure", None)):
            reconfigure(errors="replace")  # a narrow terminal must not end a verb


def _columns() -> int:
    """How wide the terminal is: what ``COLUMNS`` says, else what it says itself, else 80."""
    said = os.environ.get("COLUMNS", "")
    if said.isascii() and said.isdigit() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _USUAL
    except (OSError, ValueError):  # no terminal, or no file at all
        return _USUAL


_USUAL = 80
