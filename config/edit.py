"""One key of a TOML text set to another value, everything else left as its author wrote it.

Comments, order, blank lines and line ends stay. The result is parsed again: if it is not exactly
the old configuration with the one key changed, the text is left alone and the author asked.
"""

import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import cast

from .errors import ConfigInvalid, ConfigUnwritable
from .lines import KeyPath, Spot, spots
from .told import key_text, toml


def with_key(text: str, at: KeyPath, value: object, path: str) -> str:
    """The text with one key set.

    Args:
        text: TOML that ``tomllib.loads`` accepts.
        at: The key; the item of an array of tables on the way to it has to be there.
        value: Plain values.
        path: Of the file, for messages.

    Raises:
        ConfigInvalid: The text has a form that this cannot edit; ``value`` is not quoted.
    """
    known = spots(text)
    found = known.get(at)
    if found is not None and found.start < found.end:
        edited = text[: found.start] + toml(value) + text[found.end :]
    else:
        edited = _inserted(text, known, at, value)
    if not _is_only(text, edited, at, value):
        line = None if found is None else text.count("\n", 0, found.key) + 1
        problem = "this part of the file has a form that only a person can edit"
        raise ConfigInvalid(path=path, line=line, problem=problem)
    return edited


def replace_file(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a file as a whole, or not at all; its owner and a link to it stay.

    Args:
        path: Of the file.
        content: All of it.
        mode: Its permissions; ``None``: as they were, 0600 for a new file.

    Raises:
        ConfigUnwritable: The folder or its disk does not let us.
    """
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        facts = target.stat() if target.exists() else None
        opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(opened, "wb") as file:  # noqa: PTH123  # by its descriptor
            if mode is not None:
                os.fchmod(opened, mode)
            if facts is not None:
                if mode is None:
                    os.fchmod(opened, facts.st_mode & 0o7777)
                if (facts.st_uid, facts.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(opened, facts.st_uid, facts.st_gid)
            file.write(content)
            file.flush()
            os.fsync(opened)
        beside.replace(target)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise ConfigUnwritable(path=str(path), reason=error.strerror or str(error)) from error


def _inserted(text: str, known: Mapping[KeyPath, Spot], at: KeyPath, value: object) -> str:
    """The text with a key that it did not have."""
    parent = next((at[:end] for end in range(len(at) - 1, 0, -1) if at[:end] in known), ())
    rest = [str(key) for key in at[len(parent) :]]
    spot = known.get(parent)
    if spot is not None and text[spot.start : spot.start + 1] == "{":
        return _into_inline(text, spot, rest, value)
    line = f"{'.'.join(map(key_text, rest[-1:]))} = {toml(value)}"
    if spot is not None and spot.is_header and len(rest) == 1:
        return _after(text, _last_of(known, parent, spot), line)
    table = ".".join(key_text(str(key)) for key in at[:-1] if isinstance(key, str))
    new = f"[{table}]\n{line}"
    if any(isinstance(key, int) for key in parent) and spot is not None:
        # a table of one [[item]] has to stand before the next one
        end = max(one.end for path, one in known.items() if path[: len(parent)] == parent)
        return _after(text, max(end, spot.key), f"\n{new}")
    gap = "" if not text.strip() else "\n" if text.endswith("\n") else "\n\n"
    return text + (gap + new + "\n").replace("\n", _line_end(text))


def _into_inline(text: str, spot: Spot, rest: list[str], value: object) -> str:
    for key in reversed(rest[1:]):
        value = {key: value}
    pair = f"{key_text(rest[0])} = {toml(value)}"
    inside = text[spot.start + 1 : spot.end - 1].strip()
    inside = f"{inside.removesuffix(',')}, {pair}" if inside else pair
    return f"{text[: spot.start]}{{ {inside} }}{text[spot.end :]}"


def _last_of(known: Mapping[KeyPath, Spot], table: KeyPath, header: Spot) -> int:
    """Where what stands right below a header ends."""
    later = [one.key for one in known.values() if one.is_header and one.key > header.key]
    limit = min(later, default=float("inf"))
    inside = [
        one.end
        for path, one in known.items()
        if path[: len(table)] == table and header.key < one.key < limit
    ]
    return max(inside, default=header.key)


def _after(text: str, offset: int, line: str) -> str:
    """The text with a line after the one on which this character stands."""
    end = text.find("\n", offset)
    head = text if end < 0 else text[: end + 1]
    ends = _line_end(text)
    gap = "" if head.endswith("\n") else ends
    return head + gap + line.replace("\n", ends) + ends + text[len(head) :]


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _is_only(before: str, after: str, at: KeyPath, value: object) -> bool:
    """Whether the new text is the old configuration with this key, and nothing else, changed."""
    try:
        found = tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        return False
    wanted = deepcopy(tomllib.loads(before))
    table = cast("object", wanted)
    for key in at[:-1]:
        if isinstance(key, int):
            items = cast("list[object]", table)
            if not isinstance(table, list) or key >= len(items):
                return False
            table = items[key]
        elif isinstance(table, dict):
            table = cast("dict[str, object]", table).setdefault(key, {})
        else:
            return False
    if not isinstance(table, dict):
        return False
    cast("dict[str, object]", table)[str(at[-1])] = tomllib.loads(f"value = {toml(value)}")["value"]
    return found == wanted
