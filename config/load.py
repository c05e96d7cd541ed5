"""From a file and the environment to :class:`Settings`, knowing where each value came from.

Layers, the later wins: defaults, the TOML file, the environment
(:mod:`~poolhand.config.variables`). Relative paths in the file are meant from the file's
folder, those in the environment from the working folder. All problems are told at once.
"""

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, NoReturn, cast

from pydantic import ValidationError

from . import variables
from .errors import ConfigInvalid, ConfigUnreadable
from .lines import KeyPath, key_lines
from .problems import Places, Problem, dotted, nearest, of_validation
from .settings import Section, Settings

MOST_BYTES = 2**20
"""A longer file is none that a person wrote."""

PATHS: tuple[tuple[str, ...], ...] = (
    ("coordinator", "token_file"),
    ("coordinator", "ca_file"),
    ("cache", "dir"),
    ("stores", "s3", "ca_file"),
    ("stores", "gs", "credentials_file"),
    ("stores", "gs", "ca_file"),
    ("stores", "hf", "token_file"),
    ("stores", "hf", "ca_file"),
    ("stores", "ngc", "key_file"),
    ("stores", "ngc", "ca_file"),
    ("stores", "https", "ca_file"),
)
"""Keys that name files and folders."""

_AT = re.compile(r"(?P<words>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end .*)\)")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from.

    Attributes:
        place: ``FILE:LINE``, or the variable's name; empty for a default.
    """

    kind: Literal["default", "file", "environment"]
    place: str = ""

    def __str__(self) -> str:
        """For people: ``default``, ``/etc/poolhand/agent.toml:3``, ``environment NAME``."""
        return {"default": "default", "file": self.place}.get(
            self.kind, f"environment {self.place}"
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings that hold.

    Attributes:
        origins: By dotted key, such as ``models[0].ref``; every key of ``settings``.
        path: The file, absolute.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    path: Path


def load(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Read the configuration.

    Args:
        path: The TOML file.
        environ: The process's environment.

    Raises:
        ConfigUnreadable: The file is not there, no file, or not ours to read.
        ConfigInvalid: It says something that cannot be; ``others`` has the further problems.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would leave a linked folder
    data, lines = _parsed(_text(path), str(path))
    said = variables.read(_without_token(environ, data))
    places = Places(str(path), lines, said.variables)
    problems = list(said.problems)
    for at, value in said.values.items():
        _put(data, at, value)
    problems += _make_absolute(data, path.parent, places)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        problems += of_validation(error, places)
        _refuse(problems)
    problems += _contradictions(settings, places)
    if problems:
        _refuse(problems)
    origins = {dotted(at): _origin(at, places) for at in _keys(settings)}
    return Loaded(settings, origins, path)


def _text(path: Path) -> str:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            what = "it is a folder" if stat.S_ISDIR(facts.st_mode) else "it is no regular file"
            raise ConfigUnreadable(path=str(path), reason=what)
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigUnreadable(path=str(path), reason=error.strerror or "no file") from error
    except ValueError as error:
        raise ConfigUnreadable(path=str(path), reason="that is no valid path") from error
    if len(raw) > MOST_BYTES:
        raise ConfigInvalid(path=str(path), line=None, problem="it is larger than 1 MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigInvalid(path=str(path), line=line, problem="it is not UTF-8 text") from error


def _parsed(text: str, path: str) -> tuple[dict[str, object], Mapping[KeyPath, int]]:
    try:
        return tomllib.loads(text), key_lines(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT.fullmatch(str(error))
        if found is None:
            raise ConfigInvalid(path=path, line=None, problem=str(error)) from error
        line = int(found["line"] or text.count("\n") + 1)
        column = int(found["column"] or 0)
        words = found["words"][:1].lower() + found["words"][1:]
        problem = f"no valid TOML: {words}" + ("" if found["line"] else ", at the end of the file")
        raise ConfigInvalid(path=path, line=line, column=column, problem=problem) from error
    except RecursionError as error:
        raise ConfigInvalid(path=path, line=None, problem="it is nested too deeply") from error
    except ValueError as error:  # a number with more digits than Python reads
        raise ConfigInvalid(path=path, line=None, problem="a number is too long") from error


def _without_token(environ: Mapping[str, str], data: dict[str, object]) -> dict[str, str]:
    """The environment without the variable that the file says holds the token."""
    named = _get(data, ("coordinator", "token_env"))
    return {name: text for name, text in environ.items() if name != named}


def _get(data: dict[str, object], at: tuple[str, ...]) -> object:
    value = cast("object", data)
    for key in at:
        if not isinstance(value, dict):
            return None
        value = cast("dict[str, object]", value).get(key)
    return value


def _put(data: dict[str, object], at: KeyPath, value: object) -> None:
    table = data
    for key in at[:-1]:
        inner = table.setdefault(str(key), {})
        if not isinstance(inner, dict):
            return  # no table where one should be: the validator says so
        table = cast("dict[str, object]", inner)
    table[str(at[-1])] = value


def _make_absolute(data: dict[str, object], folder: Path, places: Places) -> Iterator[Problem]:
    for at in PATHS:
        value = _get(data, at)
        if not isinstance(value, str):
            continue
        if not value.strip() or "\0" in value:
            yield places.problem(at, f"{dotted(at)} must name a file or folder")
            continue
        base = Path.cwd() if at in places.variables else folder
        _put(data, at, os.path.abspath(base / os.path.expanduser(value)))  # noqa: PTH100, PTH111  # neither resolves links nor raises


def _contradictions(settings: Settings, places: Places) -> Iterator[Problem]:
    """What only two keys together can get wrong."""
    assigned, allowed = settings.pools.assigned, settings.pools.allowed
    if assigned is None:
        return
    at: KeyPath = ("pools", "assigned")
    entries = [one for one in settings.models if assigned in {one.id, *one.aliases}]
    if settings.models and not entries:
        known = [name for one in settings.models for name in (one.id, *one.aliases)]
        words = f"pools.assigned names {assigned!r}, which is no id or alias of any [[models]]"
        yield places.problem(at, words, nearest(assigned, known))
    names = {assigned, *(name for one in entries for name in (one.id, *one.aliases))}
    if allowed and not any(fnmatchcase(name, glob) for name in names for glob in allowed):
        yield places.problem(at, f"pools.allowed leaves no room for pools.assigned, {assigned!r}")


def _refuse(problems: list[Problem]) -> NoReturn:
    first, *others = sorted(problems, key=lambda one: (one.place, one.line or 0))
    raise first.error(tuple(str(one.error()) for one in others))


def _keys(section: Section, at: KeyPath = ()) -> Iterator[KeyPath]:
    for name in type(section).model_fields:
        value = cast("object", getattr(section, name))
        if isinstance(value, Section):
            yield from _keys(value, (*at, name))
            continue
        yield (*at, name)
        if isinstance(value, tuple):
            for nth, one in enumerate(cast("tuple[object, ...]", value)):
                if isinstance(one, Section):
                    yield from _keys(one, (*at, name, nth))


def _origin(at: KeyPath, places: Places) -> Origin:
    for end in range(len(at), 0, -1):
        if variable := places.variables.get(at[:end]):
            return Origin("environment", variable)
    line = places.lines.get(at)
    return Origin("default") if line is None else Origin("file", f"{places.path}:{line}")
