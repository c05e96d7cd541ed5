"""The house's budgets, read from the source itself; ARCHITECTURE.md explains them."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WINGS = ("agent", "backends", "config")
SOURCES = sorted(path for wing in WINGS for path in (ROOT / wing).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FILE_LINES, FUNCTION_LINES = 400, 50
ODD_WORDS = re.compile(r"(?i)manager|handler|helper|utils?(_|$)|service")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """A function's lines, its docstring apart."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    said = function.body[0]
    return lines - ((said.end_lineno or said.lineno) - said.lineno + 1)


def broad(tree: ast.AST) -> list[int]:
    """Lines of handlers that would swallow a bug."""
    handlers = (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler))
    words = {"Exception", "BaseException"}
    return [h.lineno for h in handlers if h.type is None or ast.unparse(h.type) in words]


def public(body: list[ast.stmt]) -> Iterator[Definition]:
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def unannotated(function: Function) -> list[str]:
    """What of a signature has no type; ``self`` and ``cls`` need none."""
    arguments = function.args
    named_ones = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    rest = [arg for arg in (arguments.vararg, arguments.kwarg) if arg is not None]
    missing = [a.arg for a in (*named_ones, *rest) if a.annotation is None]
    returns = [] if function.returns is not None else ["return"]
    return [name for name in (*missing, *returns) if name not in {"self", "cls"}]


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_a_file_stays_within_its_budget(path: Path) -> None:
    source = path.read_text()
    tree = ast.parse(source)
    assert source.count("\n") <= FILE_LINES
    assert {f.name: body_lines(f) for f in functions(tree) if body_lines(f) > FUNCTION_LINES} == {}
    assert {f.name: unannotated(f) for f in functions(tree) if unannotated(f)} == {}
    assert not any(isinstance(node, ast.Global) for node in ast.walk(tree))
    calls = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    assert not calls & {"asyncio.create_task", "asyncio.ensure_future", "loop.create_task"}


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_what_is_public_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a newcomer reads the module's paragraph first"
    assert [d.name for d in public(tree.body) if ast.get_docstring(d) is None] == []


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_a_package_door_defines_nothing(path: Path) -> None:
    if path.name == "__init__.py":
        assert len(ast.parse(path.read_text()).body) == 1


def test_one_handler_at_most_is_broad() -> None:
    found = {named(path): broad(ast.parse(path.read_text())) for path in SOURCES}
    found = {name: lines for name, lines in found.items() if lines}
    assert sum(map(len, found.values())) <= 1
    assert set(found) <= {"backends/engines/mlx_child.py"}, "it reports before it dies"


def test_names_say_what_a_thing_is() -> None:
    files = {named(path) for path in SOURCES if ODD_WORDS.search(path.stem)}
    classes = {
        f"{named(path)}: {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and ODD_WORDS.search(node.name)
    }
    assert files | classes == set()


def test_frozen_values_are_made_without_a_compiler() -> None:
    """But for those that are made for every token: there the library's are quicker."""
    compiled = [
        named(path)
        for path in SOURCES
        if "@dataclass(frozen=True" in path.read_text(encoding="utf-8")
    ]
    assert compiled == ["backends/engines/messages.py"]


def test_there_is_as_much_test_as_source() -> None:
    lines = {True: 0, False: 0}
    for path in (*SOURCES, *TESTS):
        lines[path in SOURCES] += path.read_text().count("\n")
    assert lines[False] >= lines[True]


def imports(path: Path) -> Iterator[Path]:
    """The files of this house that a file imports when it is imported itself."""
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.ImportFrom) or node.level == 0:
            continue
        base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        for found in (base.with_suffix(".py"), *(base / f"{n.name}.py" for n in node.names)):
            if found.is_file():
                yield found


def test_no_file_imports_itself_by_any_way_round() -> None:
    graph = {path: set(imports(path)) for path in SOURCES}
    done: set[Path] = set()

    def visit(path: Path, way: tuple[Path, ...]) -> None:
        assert path not in way, " -> ".join(map(named, (*way, path)))
        if path not in done:
            for after in graph.get(path, ()):
                visit(after, (*way, path))
            done.add(path)

    for path in SOURCES:
        visit(path, ())


def test_the_doers_do_not_know_each_other() -> None:
    """``runtime/perform.py`` alone knows the other runtime files; helpers of one are its own."""
    own = {
        "assignment_file.py": {"state_files.py"},
        "registry.py": {"state_files.py"},
        "link.py": {"incoming.py", "lanes.py", "writer.py"},
        "local.py": {"relay.py"},
        "log.py": {"flood.py", "journald.py"},
        "relay.py": {"beat.py", "chunks.py", "sealed.py"},
        "shelf.py": {"keeper.py"},
        "writer.py": {"lanes.py"},
    }
    for path in (ROOT / "agent" / "runtime").glob("*.py"):
        if path.name == "perform.py":
            continue
        neighbours = {found.name for found in imports(path) if found.parent == path.parent}
        assert neighbours <= own.get(path.name, set()), path.name


def test_the_changelog_names_what_is_new_first() -> None:
    headings = re.findall(r"(?m)^## (.+)$", (ROOT / "CHANGELOG.md").read_text())
    assert headings
    assert headings[0] == "Unreleased"
    assert all(before != after for before, after in pairwise(headings))
