"""From files and the environment to :class:`Settings`, knowing where each value came from.

Layers, the later wins: defaults, the TOML file, the files beside it
(:mod:`~poolhand.config.layers`), the environment (:mod:`~poolhand.config.variables`). Relative
paths in a file are meant from that file's folder, those in the environment from the working
folder. All problems are told at once.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, NoReturn, cast

from . import variables
from .frozen import frozen
from .layers import Table, lay, read_files
from .lines import KeyPath
from .problems import Places, Problem, dotted, entry_of, leaves, nearest, of_validation
from .rules import Invalid
from .section import Section
from .settings import Settings


@frozen
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


@frozen
class Loaded:
    """Settings that hold.

    Attributes:
        origins: By dotted key, such as ``models[0].ref``; every key of ``settings``.
        path: The first file, absolute.
        read: The bytes of all files, in the order in which they are laid over one another.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    path: Path
    read: Mapping[Path, bytes] = field(default_factory=dict[Path, bytes], repr=False)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, in that order."""
        return tuple(self.read)


def load(
    path: Path, environ: Mapping[str, str], files: Mapping[Path, bytes] | None = None
) -> Loaded:
    """Read the configuration.

    Args:
        path: The first TOML file.
        environ: The process's environment.
        files: What :func:`~poolhand.config.layers.read_files` gave, if they were read already.

    Raises:
        ConfigUnreadable: A file is not there, no file, or not ours to read.
        ConfigInvalid: It says something that cannot be; ``others`` has the further problems.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would leave a linked folder
    files = read_files(path) if files is None else files
    laid = lay(files)
    data = laid.data
    said = variables.read(_without_token(environ, data))
    places = Places(str(path), laid.written, said.variables)
    problems = list(said.problems)
    for at, value in said.values.items():
        _put(data, at, value)
    problems += _make_absolute(data, path.parent, places)
    try:
        settings = Settings.model_validate(data)
    except Invalid as error:
        problems += of_validation(error, places)
        _refuse(problems)
    problems += _contradictions(settings, places)
    if problems:
        _refuse(problems)
    origins = {dotted(at): _origin(at, places) for at in _keys(settings)}
    return Loaded(settings, origins, path, files)


def _without_token(environ: Mapping[str, str], data: Table) -> dict[str, str]:
    """The environment without the variable that the file says holds the token."""
    named = _get(data, ("coordinator", "token_env"))
    return {name: text for name, text in environ.items() if name != named}


def _get(data: Table, at: KeyPath) -> object:
    value = cast("object", data)
    for key in at:
        if isinstance(key, int) and isinstance(value, list):
            value = cast("list[object]", value)[key]
        elif isinstance(value, dict):
            value = cast("dict[str | int, object]", value).get(key)
        else:
            return None
    return value


def _put(data: Table, at: KeyPath, value: object) -> None:
    table = data
    for key in at[:-1]:
        inner = table.setdefault(str(key), {})
        if not isinstance(inner, dict):
            return  # no table where one should be: the validator says so
        table = cast("Table", inner)
    table[str(at[-1])] = value


def _make_absolute(data: Table, folder: Path, places: Places) -> Iterator[Problem]:
    for at in _paths(data):
        value = _get(data, at)
        if not isinstance(value, str):
            continue
        if not value.strip() or "\0" in value:
            yield places.problem(at, f"{dotted(at)} must name a file or folder")
            continue
        owner = cast("Table", _get(data, at[:-1]))
        base = _base(at, folder, places)
        owner[str(at[-1])] = os.path.abspath(base / os.path.expanduser(value))  # noqa: PTH100, PTH111  # neither resolves links nor raises


def _base(at: KeyPath, folder: Path, places: Places) -> Path:
    """From where a relative path is meant."""
    if any(at[:end] in places.variables for end in range(1, len(at) + 1)):
        return Path.cwd()
    spot = places.written.get(at)
    return Path(spot.path).parent if spot else folder


def _paths(data: Table) -> Iterator[KeyPath]:
    """Every key that names a file or folder, those of each ``[[models]]`` among them."""
    for at, key in leaves(Settings):
        entry = entry_of(key)
        if entry is not None:
            items = _get(data, at)
            count = len(cast("list[object]", items)) if isinstance(items, list) else 0
            inner = [one for one, _ in leaves(entry) if names_path(one)]
            yield from ((*at, nth, *one) for nth in range(count) for one in inner)
        elif names_path(at):
            yield at


def names_path(at: KeyPath) -> bool:
    """Whether a key holds the path of a file or folder."""
    return str(at[-1]).endswith("_file") or at == ("cache", "dir")


def _contradictions(settings: Settings, places: Places) -> Iterator[Problem]:
    """What only two keys together can get wrong."""
    assigned, allowed = settings.pools.assigned, settings.pools.allowed
    if assigned is None:
        return
    at: KeyPath = ("pools", "assigned")
    entries = [one for one in settings.models if assigned in {one.id, *one.aliases}]
    if settings.models and not entries and not settings.catalog.builds:
        known = [name for one in settings.models for name in (one.id, *one.aliases)]
        words = f"pools.assigned names {assigned!r}, which is no id or alias of any [[models]]"
        yield places.problem(at, words, nearest(assigned, known))
    names = {assigned, *(name for one in entries for name in (one.id, *one.aliases))}
    if allowed and not any(fnmatchcase(name, glob) for name in names for glob in allowed):
        yield places.problem(at, f"pools.allowed leaves no room for pools.assigned, {assigned!r}")


def _refuse(problems: list[Problem]) -> NoReturn:
    first, *others = sorted(problems, key=lambda one: (one.place, one.line or 0, one.column))
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
    spot = places.written.get(at)
    return Origin("default") if spot is None else Origin("file", f"{spot.path}:{spot.line}")
