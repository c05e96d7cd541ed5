# ruff: noqa: INP001 - a program beside the pages that it writes, not a package
"""Writes what is read from the source: three pages here, and ARCHITECTURE.md's error table.

``python docs/generate.py`` writes them, ``--check`` only compares and ends with 1 if one has
drifted; ``tests/test_docs.py`` runs the latter. It ships nowhere.
"""

import argparse
import ast
import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel

from poolhand import __version__
from poolhand.agent.cli import checks_table, shapes, shells, units_place
from poolhand.agent.cli.exits import MEANINGS
from poolhand.agent.cli.main import whole_parser
from poolhand.agent.cli.manual import page
from poolhand.agent.cli.words import tree
from poolhand.agent.control import client
from poolhand.agent.control import families as counted
from poolhand.agent.control.exposition import PREFIX
from poolhand.agent.control.openapi import document
from poolhand.agent.control.shapes import STATUS
from poolhand.agent.core.answers import Answers
from poolhand.agent.core.effects import Send
from poolhand.agent.core.events import RequestKey, RequestOpened
from poolhand.agent.core.loads import Loads
from poolhand.agent.core.pool import pool_of
from poolhand.agent.core.stays import LoadEnded
from poolhand.agent.wire.extensions import COMMANDS, VERSION, Answer
from poolhand.agent.wire.inbound import InferenceRequest
from poolhand.agent.wire.later import LATER, LaterAnswer
from poolhand.agent.wire.outbound import InferenceError
from poolhand.agent.wire.types import Sealed
from poolhand.backends.engines import errors as engines
from poolhand.backends.engines import hosted_errors as hosted
from poolhand.backends.stores import errors as stores
from poolhand.config import errors as config
from poolhand.config import paths, refusals
from poolhand.config.errors import GIB, AgentError
from poolhand.config.meanings import meanings, purpose, unit
from poolhand.config.problems import entry_of, table_of
from poolhand.config.schema import schema
from poolhand.config.section import Field, Section
from poolhand.config.settings import Settings
from poolhand.config.variables import variable

HERE = Path(__file__).parent
HOMES = (config, refusals, paths, stores, engines, hosted, client, units_place)

FACTS: Mapping[str, object] = MappingProxyType(
    {
        "command": "COMMAND",
        "key": "telemetry.traces",
        "extra": "otel",
        "model": "org/tiny-a",
        "pool": "tiny",
        "slots": 1,
        "needs_bytes": 20 * GIB,
        "free_bytes": 12 * GIB,
        "url": "wss://coordinator.example/ws/provider",
        "path": "PATH",
        "line": 4,
        "problem": "PROBLEM",
        "source": "SOURCE",
        "ref": "REF",
        "reason": "REASON",
        "cause": "CAUSE",
        "close_code": 1006,
        "prompt_tokens": 9000,
        "context_tokens": 8192,
        "running": 24,
        "most": 24,
        "store": "STORE",
        "scheme": "ngc",
        "needs": "NEEDS",
        "file": "FILE",
        "exit_code": 1,
        "lacking_bytes": 2 * GIB,
        "bound": "reserve",
        "bound_bytes": 10 * GIB,
        "engine": "mlx",
        "kind": "bad_model",
        "waited_s": 60.0,
        "waits_s": 4.0,
        "times": 3,
        "host": "api.example",
        "wait_s": 30.0,
        "what": "requests",
    }
)
"""What the sample sentences are made of; capitals stand for words that vary."""

FAMILIES: tuple[type[AgentError], ...] = (
    config.ConfigError,
    config.LinkError,
    refusals.PlacementError,
    stores.WeightsError,
    engines.EngineError,
    refusals.RequestError,
    AgentError,
)
"""In the order of the page."""

NEVER_TOLD = (
    config.ConfigError,
    config.LinkError,
    client.AgentNotRunning,
    units_place.SupervisorFailed,
)
FAILS_A_LOAD = (
    stores.WeightsError,
    engines.EngineMissing,
    engines.EngineStartFailed,
    engines.EngineUnreachable,
)

BEGIN, END = "<!-- written by docs/generate.py -->", "<!-- as far as here -->"
"""What stands around the table in ARCHITECTURE.md."""

Row = tuple[str, ...]


# ── configuration.md ──────────────────────────────────────────────────────────────────

CONFIGURATION_HEAD = """\
# Configuration

Generated from the settings in `config` by `docs/generate.py`; do not edit.

One TOML file, and what lies over it: `--config FILE`, else `$POOLHAND_CONFIG`, else `agent.toml`
in the folder that the service manager names (`CONFIGURATION_DIRECTORY`), else the first that is
there of the user's own (`$XDG_CONFIG_HOME/poolhand`, which is `~/.config/poolhand`, and on a Mac
`~/Library/Application Support/poolhand`, too) and the system's (`/etc/poolhand`; on a Mac
`/Library/Application Support/poolhand`). Later layers win: defaults, the file, `agent.d/*.toml`
beside it by name, the environment. `[[models]]` of several files come one after the other; any
other array is replaced. Only `coordinator.url` has no default. How to edit it,
and from when on an edit holds: [how-to-configure.md](how-to-configure.md); for editors:
[agent.schema.json](../config/agent.schema.json).

* An unknown key, a value of the wrong type and two keys that contradict each other stop the
  start with file, line, column and a suggestion, exit code 78. All problems are told at once;
  `poolhand config check` tells them without starting anything.
* A relative path in the file is meant from the file's folder; in a variable, from the working
  folder.
* A variable holds text as it is, and any other value as TOML would have it:
  `POOLHAND_SLOTS__MAX_MODEL_SLOTS=2`, `POOLHAND_POOLS__ALLOWED='["org/*"]'`. An empty variable
  counts as not set; one that begins like a table of ours and is no key is refused, and so is a key
  without its table, such as `POOLHAND_MAX_MODEL_SLOTS`.
* The token is no key: it is read from the source that `[coordinator]` names, else from
  `POOLHAND_TOKEN`. A file that others may read is refused. A source that is not there is no
  failure: a coordinator may want no token.
* The state folder is `--state-dir DIR`, else `$POOLHAND_STATE_DIR`, else `STATE_DIRECTORY`, else
  the user's own; two agents never share one.
"""


def configuration() -> str:
    """Every key with its type, default, unit, variable and meaning, one line each."""
    return CONFIGURATION_HEAD + "".join(_tables(Settings, ()))


def _tables(section: type[Section], at: tuple[str, ...]) -> Iterator[str]:
    plain = {name: key for name, key in section.model_fields.items() if table_of(key) is None}
    if at and plain:
        yield _table(section, at)
    for name, key in section.model_fields.items():
        inner = table_of(key) or entry_of(key)
        if inner is not None:
            yield from _tables(inner, (*at, name))


def _table(section: type[Section], at: tuple[str, ...]) -> str:
    is_many = at == ("models",)
    name = f"[[{'.'.join(at)}]]" if is_many else f"[{'.'.join(at)}]"
    words = meanings(section, at)
    rows: list[Row] = [("key", "type", "default", "unit", "variable", "meaning")]
    for key, field in section.model_fields.items():
        if table_of(field) is not None:
            continue
        if key not in words:
            said = ".".join((*at, key))
            sys.exit(f"{said}: neither its docstring nor WORDS says what it means")
        meaning = words[key].replace("|", "\\|")
        named = "" if at[0] == "models" else f"`{variable((*at, key))}`"
        default = "**required**" if field.is_required else _value(field.default)
        rows.append((f"`{key}`", _type(field), default, unit(key), named, meaning))
    whole = f'All entries at once: `{variable(at)}=\'[{{id = "…", ref = "…"}}]\'`.\n\n'
    head = f"\n## `{name}`\n\n{purpose(section)}\n\n"
    return head + (whole if is_many else "") + _markdown(rows)


def _value(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "`[]`" if value == () else f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def _type(field: Field) -> str:
    words = _kind(field.annotation)
    bounds = [*_inner_bounds(field.kind), *_inner_bounds(field.annotation)]
    told = {
        name: cast("object", getattr(bound, name))
        for bound in bounds
        for name in ("gt", "ge", "le")
        if isinstance(getattr(bound, name, None), int | float)
    }
    signs = {"gt": "> ", "ge": "≥ ", "le": "≤ "}
    return ", ".join([words, *(f"{signs[name]}{bound}" for name, bound in told.items())])


def _inner_bounds(kind: object) -> Iterator[object]:
    for part in (kind, *get_args(kind)):
        if get_origin(part) is Annotated:
            for mark in get_args(part)[1:]:
                yield from cast("list[object]", getattr(mark, "metadata", [mark]))


def _kind(kind: object) -> str:
    origin, inner = get_origin(kind), cast("tuple[object, ...]", get_args(kind))
    if origin is Annotated:
        return _kind(inner[0])
    if origin is Literal:
        return " \\| ".join(f"`{word}`" for word in inner)
    if origin in {UnionType, Union}:
        return _kind(next(one for one in inner if one is not NoneType))
    if origin is tuple:
        return f"array of {_kind(inner[0])}"
    names: Mapping[object, str] = {
        str: "text", int: "whole number", float: "number", bool: "true or false"
    }  # fmt: skip
    return names[kind]


# ── errors.md ─────────────────────────────────────────────────────────────────────────

ERRORS_HEAD = """\
# Errors

Generated from `config/errors.py`, `config/refusals.py`, `config/paths.py`,
`backends/stores/errors.py`, `backends/engines/errors.py`, `backends/engines/hosted_errors.py`
and `agent/control/client.py` by `docs/generate.py`; do not edit.

A code is never renamed and never reused. *retry* says what must happen first: `later` (time
alone), `operator` (a person has to change something), `never` (the request itself is wrong).
*HTTP* is the nearest status, for logs and the control socket. *wire* is the `status_code` of the
`inference_error` that a request ends with: 503 sends it elsewhere at no cost to the node.

A coordinator reads no code: it sorts a failed load, and judges a failed request, by the words of
one text. These texts are given below, with sample facts; capitals stand for words that vary. A
model's name is quoted only if it is plainly a name and bears none of the words that a coordinator
sorts by.
"""


def errors() -> str:
    """Every code in one table, then each with its texts and its remedy."""
    rows: list[Row] = [("code", "family", "retry", "HTTP", "wire")]
    entries: list[str] = []
    for leaf in leaves():
        error, told = _sample(leaf), _told_to_clients(leaf)
        family = leaf.__mro__[1].__name__
        wire = "" if told is None else str(told[0])
        rows.append((f"[`{leaf.code}`](#{leaf.code})", family, leaf.retry, str(leaf.status), wire))
        entries.append(_entry(error, told))
    reasons: list[Row] = [("code", "remedy")]
    reasons += [(f"`{code}`", remedy) for code, remedy in _reasons().items()]
    last = (
        "\n## Reasons in `status` that are no failures\n\n"
        "`why_not` bears error codes, and these words beside them:\n\n" + _markdown(reasons)
    )
    return f"{ERRORS_HEAD}\n{_markdown(rows)}\n" + "\n".join(entries) + last


def error_table() -> str:
    """Every code in few lines: those of a family that are alike share one."""
    alike: dict[Row, list[str]] = {}
    for leaf in leaves():
        told = _told_to_clients(leaf)
        wire = "-" if told is None else str(told[0])
        alike.setdefault((leaf.retry, wire, leaf.__mro__[1].__name__), []).append(f"`{leaf.code}`")
    rows: list[Row] = [("code", "retry", "wire", "family")]
    return _markdown([*rows, *((", ".join(codes), *facts) for facts, codes in alike.items())])


def leaves() -> list[type[AgentError]]:
    """Every error with a code of its own, by family and code."""

    def below(base: type[AgentError]) -> Iterator[type[AgentError]]:
        for child in base.__subclasses__():
            yield from below(child)
            if "code" in vars(child) and child.__module__ in {home.__name__ for home in HOMES}:
                yield child

    return sorted(set(below(AgentError)), key=lambda leaf: (_family_at(leaf), leaf.code))


def _family_at(leaf: type[AgentError]) -> int:
    return next(at for at, family in enumerate(FAMILIES) if issubclass(leaf, family))


def _sample(leaf: type[AgentError]) -> AgentError:
    parameters = inspect.signature(leaf).parameters.values()
    return leaf(**{p.name: FACTS[p.name] for p in parameters if p.default is p.empty})


def _told_to_clients(leaf: type[AgentError]) -> tuple[int, str] | None:
    """Status and text that a request ends with; ``None`` where no request comes so far."""
    error = _sample(leaf)
    if issubclass(leaf, NEVER_TOLD):
        return None
    return _after_a_load(error) if issubclass(leaf, FAILS_A_LOAD) else _words(error)


def _words(error: AgentError) -> tuple[int, str]:
    return error.wire_status, error.request_text


def _after_a_load(error: AgentError) -> tuple[int, str]:
    """What the core tells a request that waits for a load that fails like this."""
    model = str(FACTS["model"])
    settings = Settings.model_validate(
        {
            "coordinator": {"url": str(FACTS["url"])},
            "models": [{"id": model, "ref": "s3://models/tiny-a"}],
        }
    )
    answers = Answers(Loads(settings, pool_of(settings, machine_id="")))
    sealed = Sealed(ephemeral_public_key="", ciphertext="")
    _ = answers.heard(1, InferenceRequest(request_id="r", encrypted_body=sealed), 0.0)
    _ = answers.opened(RequestOpened(RequestKey(1, "r"), model), 0.0)
    for said in answers.loaded(LoadEnded(model, 0, error)):
        if isinstance(said, Send) and isinstance(said.message, InferenceError):
            return said.message.status_code, said.message.error
    sys.exit(f"{error.code}: the core tells a waiting request nothing")


def _entry(error: AgentError, told: tuple[int, str] | None) -> str:
    purpose = (inspect.getdoc(type(error)) or "").split("\n")[0].replace("``", "`")
    lines = [f"## {error.code}\n", f"{purpose}\n", f"* sentence: `{error}`"]
    if told is not None:
        if not isinstance(error, refusals.RequestError):
            lines.append(f"* `load_model_status`: `{error.load_text}`")
        lines.append(f"* `inference_error` {told[0]}: `{told[1]}`")
    return "\n".join([*lines, f"* remedy: {error.remedy}", ""])


def _reasons() -> dict[str, str]:
    """Codes that only ``core/status.py`` uses, read from its calls of ``_reason``."""
    tree = ast.parse((HERE.parent / "agent/core/status.py").read_text(encoding="utf-8"))
    codes = {leaf.code for leaf in leaves()}
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) != "_reason":
            continue
        code, _, *rest = node.args
        if isinstance(code, ast.Constant):
            remedy: object = ast.literal_eval(rest[0]) if rest else "Nothing."
            found[str(code.value)] = str(remedy)
    return {code: remedy for code, remedy in sorted(found.items()) if code not in codes}


# ── protocol-extensions.md ────────────────────────────────────────────────────────────

EXTENSIONS_HEAD = f"""\
# Additions to the protocol

Generated from `agent/wire/extensions.py` by `docs/generate.py`; do not edit.

Every agent announces `"extensions":{{"pools":{VERSION}}}` in `register`, and says in `register`
and each `heartbeat` which pool it serves:
`"pool":{{"assigned":"tiny","scope":["tiny"],"epoch":7,"source":"hash"}}`. While it takes
nothing new, each `heartbeat` says why, as in `"drain":{{"reason":"owner","sign":"input"}}`: the
reason is `leaving`, `operator`, `coordinator`, `move`, `hours` or `owner`, and what of an owner the
machine steps aside for is `input`, `battery`, `gpu` or `heat`. A coordinator that does
not know these fields ignores them, and never gets a message of this page: the agent sends each
only as the answer to one of the coordinator's, on the same line.

Local policy stands before every command: nothing here reaches a model outside `[[models]]` and
`pools.allowed`, moves a machine whose `pools.assigned` is set, or unloads a pinned model.

* **`assign_pool`** moves the machine to a pool and answers `assign_pool_status`. A repetition of
  pool and epoch is `applied` again. A lower epoch is `refused` with `stale epoch`, the same epoch
  with another pool with `epoch conflict`, what local policy forbids with `pool 'P' not allowed by
  local policy`; the answer's `epoch` and `assigned` are what holds now. A busy machine says
  `draining` at once: what runs is finished, new requests for the old pool get 503 `model 'X' not
  loaded: outside assigned pool`. While accepted requests wait for a model, they are served first:
  `assigned` is still the old pool, and whatever is new gets `provider draining for update`. Then
  `applied`, or `failed` after `expires_at` or `pools.move_deadline_s`: the old pool holds again,
  under a new epoch. For `pools.min_dwell_s` after a move the next one is refused. `assign_model`
  with `model_id` and `epoch` means the same with `pool` and `preload` set to the model.
* **`unload_model`** gives an idle model's memory back; **`cancel_load`** gives up a load that no
  request waits for, keeps the bytes that are here, and leaves the resident model alone.
* **`drain`** finishes what runs and takes nothing new until **`undrain`** or the end of the line;
  `drain_status` says `draining`, then `drained`.

Unknown fields are ignored, `null` means absent, and a message that cannot be read is dropped.
"""


def extensions() -> str:
    """Every additional message with its JSON Schema."""
    shapes = [*COMMANDS.values(), *LATER.values(), *get_args(Answer), *get_args(LaterAnswer)]
    return EXTENSIONS_HEAD + "".join(_shape(shape) for shape in shapes)


def _shape(shape: type[BaseModel]) -> str:
    kind: object = shape.model_fields["type"].default
    heard = {*COMMANDS.values(), *LATER.values()}
    way = "to the agent" if shape in heard else "to the coordinator"
    said = (inspect.getdoc(shape) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")
    schema = shape.model_json_schema()
    schema = {name: part for name, part in schema.items() if name not in {"title", "description"}}
    schema["required"] = sorted({"type", *cast("list[str]", schema.get("required", []))})
    text = json.dumps(schema, indent=1)
    return f"\n## {kind}\n\n{way.capitalize()}. {said}\n\n```json\n{text}\n```\n"


# ── doctor.md ─────────────────────────────────────────────────────────────────────────

DOCTOR = """\
# Every check of `poolhand doctor`

Written from the source by `python docs/generate.py`; do not edit it here.

`poolhand doctor` looks with the agent's own functions, whether or not it runs, and changes
nothing. A check comes out as `ok`; as `warn`: it works, or may, but somebody should know; as
`fail`: it keeps this machine from serving, or will; or as `skipped`, with the reason. `warn` and
`fail` say what helps. `poolhand doctor MODEL` ends with whether a request for that model would be
answered here, and what is in its way; without a name it says so of each model that is offered.

What needs a network is asked side by side, each step for a few seconds at most; `--offline`
leaves it out. `--quiet` shows only what is not well; `--json` prints `{"checks": [{"id",
"verdict", "cause", "remedy", "subject", "is_config"}], "models": [{"model", "answered",
"blockers"}], "exit"}`. An id never changes its meaning. No secret is shown. `poolhand doctor s3
REF` lists one reference of any kind of store and reads its largest file for 64 MiB or 5 s:
milliseconds to the listing and to the first byte, MB/s over one connection.

Exit codes: 0 nothing fails; 1 something does, or the model that was named would not be answered;
78 the configuration, the token or the state folder cannot be used.

"""


def checks() -> str:
    """The page of the doctor's checks."""
    parts = [DOCTOR]
    for group in checks_table.GROUPS:
        rows: list[Row] = [("id", "looks whether, or at")]
        rows += [(f"`{check}`", words) for check, words in group.about.items()]
        parts.append(f"## {group.name.capitalize()}\n\n{_markdown(rows)}\n")
    return "".join(parts).rstrip() + "\n"


# ── both ──────────────────────────────────────────────────────────────────────────────


def _markdown(rows: list[Row]) -> str:
    head, *rest = rows
    lines = [head, tuple("---" for _ in head), *rest]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


def _house(page: str) -> str:
    """ARCHITECTURE.md with its error table written anew."""
    return re.sub(rf"(?s)({BEGIN}\n).*?({END})", rf"\1{error_table()}\2", page)


# ── metrics.md ────────────────────────────────────────────────────────────────────────

METRICS_HEAD = """\
# Metrics

Generated from `agent/control/families.py` by `docs/generate.py`; do not edit.

`GET /metrics` on the control socket, and on `control.port` with the key as a bearer token. What
was not measured is not there. Labels are words of ours, ids of configured models, or error codes.
`packaging/observability` has a Grafana dashboard and alert rules.

"""


def metrics() -> str:
    """Every metric in one table."""
    rows: list[Row] = [("metric", "kind", "labels", "meaning")]
    for family in counted.FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append((f"`{PREFIX}{family.name}`", family.kind, labels, family.words))
    return METRICS_HEAD + _markdown(rows)


def commands() -> str:
    """Every verb with its options, and every exit code, as the parser has them."""
    words = tree(whole_parser())
    parts = [
        "# Commands\n",
        "<!-- written by docs/generate.py: do not edit -->\n",
        "Read off the parser, as `man poolhand` and `poolhand VERB --help` are. Verbs that only",
        "look take `--json`. The `.deb` and the formula bring the manual and the completions of",
        "bash, zsh and fish; else source what `poolhand completion bash|zsh|fish` prints.\n",
        "## Exit codes\n",
        "| code | meaning |",
        "| --- | --- |",
        *(f"| {code.value} | {_cell(meaning)} |" for code, meaning in MEANINGS),
        "",
    ]
    for path, found in words.items():
        is_leaf = not found.below or any(f"{path} {word}" not in words for word in found.below)
        if path == "poolhand" or not is_leaf:
            continue
        named = [name for name in found.values if not name.startswith("-")]
        choices = f" {'|'.join(found.below)}" if found.below else ""
        places = "" if found.below else "".join(f" {name}" for name in named)
        parts.append(f"## `{path}{choices}{places}`\n")
        parts.append(f"{found.purpose[:1].upper()}{found.purpose[1:]}.\n" if found.purpose else "")
        verb = path.removeprefix("poolhand ")
        for one in shapes.PRINTED:
            if one == verb or (one.startswith(f"{verb} ") and f"poolhand {one}" not in words):
                name = shapes.file_of(one)
                parts.append(f"`{one} --json` prints [{name}](schemas/{name}).\n")
        options = {name: text for name, text in found.options.items() if name != "--help"}
        if options:
            parts += ["| option | what it does |", "| --- | --- |"]
        for name, text in options.items():
            value = f" {found.values[name]}" if name in found.values else ""
            parts.append(f"| `{name}{_cell(value)}` | {_cell(text)} |")
        parts.append("")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip("\n") + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the pages, or compare; the exit status is 1 if a compared page has drifted."""
    parser = argparse.ArgumentParser(description="Write the pages that are read from the source.")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    parser.add_argument("--root", type=Path, default=HERE.parent, help="where the pages are")
    args = parser.parse_args()
    root, is_check = cast("Path", args.root), cast("bool", args.check)
    house = root / "ARCHITECTURE.md"
    words = tree(whole_parser())
    scripts = (
        ("bash", shells.bash(words)),
        ("zsh", shells.zsh(words)),
        ("fish", shells.fish(words)),
    )
    pages = {
        root / "docs" / "configuration.md": configuration(),
        root / "config" / paths.SCHEMA_FILE.name: json.dumps(schema(), indent=1) + "\n",
        root / "docs" / "doctor.md": checks(),
        root / "docs" / "errors.md": errors(),
        root / "docs" / "protocol-extensions.md": extensions(),
        root / "docs" / "commands.md": commands(),
        root / "docs" / "metrics.md": metrics(),
        root / "docs" / "openapi.json": json.dumps(document(__version__), indent=1) + "\n",
        root / "docs" / "status.schema.json": json.dumps(STATUS, indent=1) + "\n",
        root / "packaging" / "man" / "poolhand.1": page(words),
        **{
            root / "docs" / "schemas" / shapes.file_of(verb): json.dumps(
                shapes.published(verb), indent=1
            )
            + "\n"
            for verb in shapes.PRINTED
        },
        **{root / "agent/cli/completions" / f"poolhand.{name}": text for name, text in scripts},
        house: _house(house.read_text(encoding="utf-8")),
    }
    code = 0
    for place, text in pages.items():
        if not is_check:
            place.parent.mkdir(parents=True, exist_ok=True)
            _ = place.write_text(text, encoding="utf-8")
        elif not place.exists() or place.read_text(encoding="utf-8") != text:
            _ = sys.stderr.write(f"{place.name} has drifted: run `python docs/generate.py`\n")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
