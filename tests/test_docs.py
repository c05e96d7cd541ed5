"""The pages against the source: nothing drifts or is forgotten, and links lead somewhere."""

import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from poolhand.agent.cli import units_place
from poolhand.agent.control import client
from poolhand.agent.core import effects, events, requests, session, slots
from poolhand.agent.core.backoff import Backoff
from poolhand.backends.engines import errors as engines
from poolhand.backends.engines import hosted_errors as hosted
from poolhand.backends.stores import errors as stores
from poolhand.config import errors as config
from poolhand.config import paths, refusals
from poolhand.config.errors import AgentError
from poolhand.config.problems import entry_of, leaves, table_of
from poolhand.config.settings import Settings
from poolhand.config.variables import variable

ROOT = Path(__file__).parent.parent
WINGS = ("agent", "backends", "config")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
HOUSE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
WRITTEN = ("docs/configuration.md", "docs/doctor.md", "docs/errors.md", "ARCHITECTURE.md")
HOMES = {
    home.__name__
    for home in (config, refusals, paths, stores, engines, hosted, client, units_place)
}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def generate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # our own program
        [sys.executable, ROOT / "docs" / "generate.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def tracked() -> list[Path]:
    """Every file of the repository, from the root: what git knows, or what an archive holds."""
    told = subprocess.run(
        ["git", "ls-files"],  # noqa: S607  # the one on the path
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if told.returncode == 0 and told.stdout:
        return [Path(name) for name in told.stdout.splitlines()]
    wings = (path for wing in (*WINGS, "tests", "packaging") for path in (ROOT / wing).rglob("*"))
    files = (path for path in (*PAGES, *wings) if path.is_file())
    return [path.relative_to(ROOT) for path in files if "__pycache__" not in path.parts]


def coded(base: type[AgentError]) -> Iterator[type[AgentError]]:
    """Every error of the house with a code of its own."""
    for child in base.__subclasses__():
        yield from coded(child)
        if "code" in vars(child) and child.__module__ in HOMES:
            yield child


def section(title: str) -> str:
    """What the architecture says under a heading."""
    return re.split(r"(?m)^## ", HOUSE.partition(f"\n## {title}\n")[2], maxsplit=1)[0]


def listed() -> list[str]:
    """Every file that the architecture's tree names, from the root."""
    (tree,) = re.findall(r"(?s)```tree\n(.*?)```", HOUSE)
    folder, found = "", list[str]()
    for line in tree.splitlines():
        name = line.split(maxsplit=1)[0] if line.strip() else ""
        if name.endswith("/"):
            folder = name
        elif name:
            found.append(folder + name if line.startswith(" ") else name)
    return found


# ── generated pages ───────────────────────────────────────────────────────────────────


def test_no_generated_page_has_drifted() -> None:
    ended = generate("--check")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("name", WRITTEN)
def test_a_page_that_drifts_is_noticed_and_mended(name: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for page in WRITTEN:
        shutil.copy(ROOT / page, tmp_path / page)
    before = (tmp_path / name).read_text()
    drifted = re.sub(r"(?m)^(\| .*)operator|unset|looks whether", r"\1nobody", before)
    (tmp_path / name).write_text(drifted)
    ended = generate("--check", "--root", tmp_path)
    assert ended.returncode == 1
    assert Path(name).name in ended.stderr
    assert generate("--root", tmp_path).returncode == 0
    assert (tmp_path / name).read_text() == before
    assert generate("--check", "--root", tmp_path).returncode == 0


def test_every_key_has_its_line() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    for at, field in leaves(Settings):
        inner = entry_of(field)
        if inner is None:
            row = rf"(?m)^\| `{at[-1]}` \| .* \| `{variable(at)}` \| \S.* \|$"
            assert len(re.findall(row, page)) == 1, at
            continue
        many = page.partition(f"## `[[{'.'.join(at)}]]`")[2].partition("\n## ")[0]
        assert variable(at) in many
        plain = [name for name, key in inner.model_fields.items() if table_of(key) is None]
        assert re.findall(r"(?m)^\| `(\w+)` ", many) == plain


def test_every_code_has_its_entry() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    codes = [leaf.code for leaf in coded(AgentError)]
    assert len(codes) > 30
    assert sorted(re.findall(r"(?m)^## (\w+)$", page)) == sorted(codes)
    assert page.count("* remedy: ") == len(codes)


# ── the architecture ──────────────────────────────────────────────────────────────────


def test_the_architecture_names_every_file_and_no_other() -> None:
    kept = [path for path in tracked() if path.name != "__init__.py"]
    sources = {path for path in kept if path.parts[0] in WINGS and path.suffix == ".py"}
    packaging = {p for p in kept if p.parts[0] == "packaging" and "namespace" not in p.parts}
    named = listed()
    assert sources
    assert packaging
    assert sorted(map(str, (sources | packaging) - set(map(Path, named)))) == [], "forgotten"
    assert [name for name in named if not (ROOT / name).is_file()] == [], "ghosts"
    assert len(named) == len(set(named)), "twice"


def test_the_architecture_stays_readable() -> None:
    assert HOUSE.count("\n") - len(listed()) <= 320, "the files' own lines apart"


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=lambda p: p.name
)
def test_a_file_that_a_page_names_exists(page: Path) -> None:
    prose = re.sub(r"(?s)```.*?```", "", page.read_text(encoding="utf-8"))
    named = re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:py|md|sh|lock|plist|service|txt))`", prose)
    places = (ROOT, ROOT / "agent", ROOT / "backends", ROOT / "packaging", ROOT / "docs")
    lost = [n for n in named if not any((place / n).is_file() for place in places)]
    assert [n for n in lost if n not in {"catalog.py", "__init__.py"}] == [], "any folder's"


def test_its_error_table_is_the_code() -> None:
    told: dict[str, tuple[str, ...]] = {}
    for codes, *facts in re.findall(
        r"(?m)^\| (`\w+`(?:, `\w+`)*) \| (\w+) \| (\d+|-) \| (\w+) \|$", section("Errors")
    ):
        told |= dict.fromkeys(re.findall(r"\w+", codes), tuple(facts))
    page = (ROOT / "docs" / "errors.md").read_text()
    wires = dict(re.findall(r"(?m)^\| \[`(\w+)`\].* \| (\d*) \|$", page))
    meant = {
        leaf.code: (leaf.retry.value, wires[leaf.code] or "-", leaf.__mro__[1].__name__)
        for leaf in coded(AgentError)
    }
    assert told == meant


def test_its_tables_name_every_event_and_effect() -> None:
    rows = re.findall(r"(?m)^\| (`\w+`.*) \| .*\|$", section("The loop"))
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    known = {one.__name__ for one in (*get_args(events.Event), *get_args(effects.Effect))}
    assert sorted(named) == sorted(known)


def test_its_machines_are_drawn_as_in_the_code() -> None:
    for module in (session, slots, requests):
        (drawing,) = re.findall(r"(?s)::\n\n(.*?)\Z|::\n\n(.*?)\n\n", module.__doc__ or "")
        lines = [line.strip() for line in "".join(drawing).split("\n\n")[0].splitlines()]
        machines = [line.strip() for line in section("The machines").splitlines()]
        assert lines
        for line in lines:
            assert any(shown.startswith(line) for shown in machines), line


def test_its_waits_are_the_line_s() -> None:
    said = " ".join(section("The machines").split())
    usual = Backoff()
    proven_s: object = inspect.signature(session.Session).parameters["proven_s"].default
    for words in (
        f"doubles from {usual.first_s:g} s to {usual.ceiling_s:g} s",
        f"never shorter than {usual.floor_s:g} s",
        f"anywhere in {usual.spread_s:g} s",
        f"between {usual.refused_s:g} and {2 * usual.refused_s:g} s",
        f"lived {proven_s:g} s",
        f"jumped {session.GAP_S:g} s",
    ):
        assert words in said


# ── all pages ─────────────────────────────────────────────────────────────────────────


def anchors(page: Path) -> set[str]:
    """The places of a page that a link can lead to, as GitHub names them."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"(?s)```.*?```", "", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        assert found.exists(), target
        assert found == ROOT or ROOT in found.parents, target
        assert not anchor or anchor in anchors(found), target


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    linked = set(re.findall(r"\]\(([^)#]+)\)", index))
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= linked


def test_nothing_leads_out_of_the_repository() -> None:
    outside = re.compile(rb"(?<![\w.])/wor" + rb"k/|\.\./sha" + rb"red\b")
    files = [ROOT / path for path in tracked() if (ROOT / path).is_file()]
    assert len(files) > len(PAGES)
    found = [str(path) for path in files if outside.search(path.read_bytes())]
    assert found == []


def test_the_decisions_say_what_why_and_at_what_cost() -> None:
    text = (ROOT / "DECISIONS.md").read_text(encoding="utf-8")
    entries = re.split(r"(?m)^### ", text)[1:]
    assert len(entries) >= 20
    titles = [entry.splitlines()[0] for entry in entries]
    assert len(set(titles)) == len(titles)
    for entry, title in zip(entries, titles, strict=True):
        body = entry.partition("\n## ")[0]
        assert "Why:" in body, title
        assert "Costs:" in body, title
        assert len(body.strip().splitlines()) <= 8, title
