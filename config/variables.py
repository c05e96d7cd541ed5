"""Settings out of the environment: ``POOLHAND_COORDINATOR__URL`` is ``coordinator.url``.

The rule: ``POOLHAND_``, then the key's path in capitals, its parts joined by two
underscores. A key that holds text takes the value as it is; every other takes it as TOML
would read it: ``POOLHAND_SLOTS__MAX_MODEL_SLOTS=2``, ``POOLHAND_POOLS__ALLOWED='["org/*"]'``,
``POOLHAND_MODELS='[{id = "a", ref = "file:///a"}]'``. An empty variable counts as not set.
A variable that begins like a table of ours and is none is a mistake, and is told so, and one
that has a key's name of several words without its table (``POOLHAND_MAX_MODEL_SLOTS``); what
else begins with ``POOLHAND_`` is somebody else's.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Annotated, Literal, cast, get_args, get_origin

from .frozen import frozen
from .lines import KeyPath
from .problems import Problem, leaves, nearest
from .section import Field
from .settings import Settings

PREFIX = "POOLHAND_"


@frozen
class FromEnvironment:
    """What the environment says.

    Attributes:
        values: Raw values by path, as TOML would have given them.
        variables: The variable that said each.
        problems: Variables that cannot be what was meant.
    """

    values: dict[KeyPath, object] = field(default_factory=dict[KeyPath, object])
    variables: dict[KeyPath, str] = field(default_factory=dict[KeyPath, str])
    problems: list[Problem] = field(default_factory=list[Problem])


def variable(at: tuple[str, ...]) -> str:
    """The name of the variable that sets a key."""
    return PREFIX + "__".join(at).upper()


def read(environ: Mapping[str, str]) -> FromEnvironment:
    """Gather every setting that the environment makes."""
    known = {variable(at): (at, key) for at, key in leaves(Settings)}
    tables = tuple(PREFIX + name.upper() for name in Settings.model_fields)
    # no single word: a cluster sets POOLHAND_PORT for a service of our name
    homeless = {variable((at[-1],)): one for one, (at, _) in known.items() if "_" in at[-1]}
    token = environ.get(variable(("coordinator", "token_env")))
    found = FromEnvironment()
    for name, text in sorted(environ.items()):
        if not text or name == token:
            continue
        if name in known:
            at, key = known[name]
            _take(found, at, key, text)
        elif name.startswith(tables) or name in homeless:
            place = f"environment variable {name}"
            words = "there is no such setting"
            near = f"did you mean {homeless[name]}?" if name in homeless else nearest(name, known)
            found.problems.append(Problem(place, None, words, near))
    return found


def value_of(key: Field, text: str) -> object:
    """What a text means for a key: text as it is, anything else as TOML would read it.

    Raises:
        ValueError: It is no TOML value; the message is for people and does not quote it.
    """
    if _holds_text(key.annotation):
        return text
    try:
        data = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        data = {}
    if set(data) != {"value"}:  # a second line could bring a second key
        problem = "is no TOML value: numbers and true stand as they are, arrays in [ ]"
        raise ValueError(problem)
    return cast("object", data["value"])


def _take(found: FromEnvironment, at: tuple[str, ...], key: Field, text: str) -> None:
    name = variable(at)
    found.variables[at] = name
    try:
        found.values[at] = value_of(key, text)
    except ValueError as error:
        found.problems.append(Problem(f"environment variable {name}", None, str(error)))


def _holds_text(kind: object) -> bool:
    return any(one is str for one in _kinds(kind))


def _kinds(kind: object) -> Iterator[object]:
    origin = get_origin(kind)
    if origin is Literal:
        yield str
    elif origin is Annotated:
        yield from _kinds(get_args(kind)[0])
    elif origin is tuple or not get_args(kind):
        yield kind
    else:
        for one in get_args(kind):
            yield from _kinds(one)
