"""The files of one configuration: read as bytes, parsed, and laid over one another.

``agent.toml`` comes first, then every ``agent.d/*.toml`` beside it by name. Of one key the later
file wins; tables are joined key by key and ``[[models]]`` one after the other, so that a file
can bring a model of its own.
"""

import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import cast

from .errors import ConfigInvalid, ConfigUnreadable
from .frozen import frozen
from .lines import KeyPath, Lines, said_again, spots

MOST_BYTES = 2**20
"""A longer file is none that a person wrote."""

MOST_FILES = 256
"""A folder with more of them is none that a person filled."""

_AT = re.compile(r"(?P<words>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end .*)\)")
_TWICE, _NAMES = re.compile(r"\('.*'\)|\('.*',\)"), re.compile(r"'([^']*)'")
"""A table's name, as the parser writes it, and the words of it."""

_MANY_DIGITS = re.compile(r"[0-9_]{4300,}")
"""More than Python reads. Source: sys.int_info.default_max_str_digits."""

Table = dict[str, object]


@frozen
class Written:
    """Where a key was written: lines and columns, 1 for the first of each.

    Attributes:
        path: The file, absolute.
        value_line: Where its value begins; as ``line`` for a table with a header.
        value_column: The same.
    """

    path: str
    line: int
    column: int
    value_line: int
    value_column: int


@frozen
class Laid:
    """All files, one over the other.

    Attributes:
        data: As ``tomllib`` would give one file with all of it.
        written: Where each key of it stands; the file that wins, if several have it.
    """

    data: Table = field(default_factory=dict[str, object])
    written: dict[KeyPath, Written] = field(default_factory=dict[KeyPath, Written])


def extras_dir(path: Path) -> Path:
    """The folder of the further files: ``agent.d`` for ``agent.toml``."""
    return path.with_suffix(".d")


def read_files(path: Path) -> Mapping[Path, bytes]:
    """Every file of the configuration as it is now, in the order in which they are laid.

    Args:
        path: The first file, absolute.

    Raises:
        ConfigUnreadable: One is not there, no file, or not ours to read.
        ConfigInvalid: One is too large, or there are too many.
    """
    return {one: _content(one) for one in (path, *_extras(path))}


def lay(files: Mapping[Path, bytes]) -> Laid:
    """Parse the files and lay them over one another.

    Raises:
        ConfigInvalid: One of them is no TOML text.
    """
    laid = Laid()
    for path, raw in files.items():
        text = _text(path, raw)
        data = _parsed(text, str(path))
        shift = _lay_over(laid.data, data)
        lines = Lines(text)
        for at, spot in spots(text).items():
            value = spot.key if spot.start == spot.end else spot.start
            key = _shifted(at, shift)
            laid.written[key] = Written(str(path), *lines.at(spot.key), *lines.at(value))
    return laid


def _extras(path: Path) -> Sequence[Path]:
    folder = extras_dir(path)
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208  # names are all that is needed
    except FileNotFoundError:
        if not folder.is_symlink():
            return ()
        raise ConfigUnreadable(path=str(folder), reason="it is a link to nowhere") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ConfigUnreadable(path=str(folder), reason=reason or "no valid path") from error
    found = [folder / name for name in names if name.endswith(".toml") and name[0] != "."]
    if len(found) > MOST_FILES:
        problem = f"it holds more than {MOST_FILES} files"
        raise ConfigInvalid(path=str(folder), line=None, problem=problem)
    return found


def _content(path: Path) -> bytes:
    try:
        # not blocking: a named pipe in its place must not hold up the start
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(opened, "rb") as file:  # noqa: PTH123  # by its descriptor
            facts = os.fstat(opened)
            if not stat.S_ISREG(facts.st_mode):
                raise ConfigUnreadable(path=str(path), reason=_odd(facts.st_mode))
            raw = file.read(MOST_BYTES + 1)
    except IsADirectoryError as error:
        raise ConfigUnreadable(path=str(path), reason=_odd(stat.S_IFDIR)) from error
    except OSError as error:
        raise ConfigUnreadable(path=str(path), reason=error.strerror or "no file") from error
    except ValueError as error:
        raise ConfigUnreadable(path=str(path), reason="that is no valid path") from error
    if len(raw) > MOST_BYTES:
        raise ConfigInvalid(path=str(path), line=None, problem="it is larger than 1 MiB")
    return raw


def _odd(mode: int) -> str:
    return "it is a folder" if stat.S_ISDIR(mode) else "it is no regular file"


def _text(path: Path, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].rpartition(b"\n")[2].decode(errors="replace")
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigInvalid(
            path=str(path), line=line, column=len(before) + 1, problem="it is not UTF-8 text"
        ) from error


def _parsed(text: str, path: str) -> Table:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT.fullmatch(str(error))
        if found is None:
            raise ConfigInvalid(path=path, line=None, problem=str(error)) from error
        line, column = Lines(text).at(len(text))
        if found["line"]:
            line, column = int(found["line"]), int(found["column"])
        if found["words"] == "Cannot overwrite a value":
            _refuse_said_again(text, path, (line, column))
        words = found["words"][:1].lower() + found["words"][1:]
        words = _TWICE.sub(lambda at: f"[{'.'.join(_NAMES.findall(at[0]))}]", words)
        problem = f"no valid TOML: {words}" + ("" if found["line"] else ", at the end of the file")
        raise ConfigInvalid(path=path, line=line, column=column, problem=problem) from error
    except RecursionError as error:
        raise ConfigInvalid(path=path, line=None, problem="it is nested too deeply") from error
    except ValueError as error:  # a number with more digits than Python reads
        at = _MANY_DIGITS.search(text)
        line, column = Lines(text).at(at.start()) if at else (None, 0)
        problem = "a number is too long"
        raise ConfigInvalid(path=path, line=line, column=column, problem=problem) from error


def _refuse_said_again(text: str, path: str, until: tuple[int, int]) -> None:
    """Name the key and both of its lines, where the parser only says that there was a value."""
    lines = Lines(text)
    again = said_again(text[: lines.offset(*until)])
    if again is None:
        return
    keys, first, second = again
    name = ".".join(str(key) for key in keys)
    problem = f"no valid TOML: {name} has a value already, in line {lines.at(first)[0]}"
    line, column = lines.at(second)
    raise ConfigInvalid(
        path=path, line=line, column=column, problem=problem, suggestion="leave one of the two"
    )


def _lay_over(below: Table, above: Table, at: KeyPath = ()) -> Mapping[KeyPath, int]:
    """Join two tables; by array of tables, how many items stand before those of ``above``."""
    shift: dict[KeyPath, int] = {}
    for key, value in above.items():
        old: object = below.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            shift |= _lay_over(cast("Table", old), cast("Table", value), (*at, key))
        elif _are_tables(cast("object", old)) and _are_tables(value):
            items = cast("list[object]", old)
            shift[*at, key] = len(items)
            items.extend(cast("list[object]", value))
        else:
            below[key] = value
    return shift


def _are_tables(value: object) -> bool:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return bool(items) and all(isinstance(item, dict) for item in items)


def _shifted(at: KeyPath, shift: Mapping[KeyPath, int]) -> KeyPath:
    for end in range(1, len(at)):
        before, nth = at[:end], at[end]
        if isinstance(nth, int) and before in shift:
            return (*before, nth + shift[before], *at[end + 1 :])
    return at
