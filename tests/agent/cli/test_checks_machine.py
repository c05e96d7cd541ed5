"""Limits, memory and engines: a machine laid out in a folder, and this one."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from poolhand.agent.cli.checks_machine import ABOUT, LIMITS, limits, look
from poolhand.agent.cli.checks_told import Ground
from poolhand.agent.weights.cache import Cache

from .checks_world import PLAIN, RUNNING, by_id, ground, verdicts

LINES = """\
Limit                     Soft Limit           Hard Limit           Units
Max core file size        {cores}                    unlimited            bytes
Max open files            {files}                 524288               files
"""
MODEL = '[[models]]\nid = "org/a"\nref = "s3://models/a"\nengine = "{}"\n'


def limited(folder: Path, *, files: object, cores: object) -> Ground:
    here = ground(folder, status=RUNNING)
    assert here.pid is not None
    path = here.root / "proc" / str(here.pid) / "limits"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(LINES.format(files=files, cores=cores))
    return here


@pytest.mark.parametrize(
    ("files", "cores", "verdict"),
    [
        (524288, 0, ("ok", "ok")),
        ("unlimited", 0, ("ok", "ok")),
        (1000, 0, ("warn", "ok")),
        (64, 0, ("fail", "ok")),
        (524288, "unlimited", ("ok", "fail")),
        (524288, 1, ("ok", "fail")),
    ],
)
def test_the_agents_limits(
    tmp_path: Path, files: object, cores: object, verdict: tuple[str, str]
) -> None:
    found = limits(limited(tmp_path, files=files, cores=cores))
    assert verdicts(found) == dict(zip(LIMITS, verdict, strict=True))


def test_without_an_agent_the_shells_limit_counts(tmp_path: Path) -> None:
    found = by_id(limits(ground(tmp_path)))
    assert "this shell may have" in found["limits.files"].cause
    assert found["limits.cores"].verdict == "skipped"


def here(folder: Path, text: str, *, is_known: bool = True, size_bytes: int = 2**20) -> Ground:
    """This very machine, with a model that was listed once."""
    made = ground(folder, f'{PLAIN}{text}\n[cache]\ndir = "{folder}/cache"\n')
    if is_known:
        Cache(folder / "cache").remember("org/a", "s3://models/a", size_bytes)
    return replace(made, root=Path("/"), platform=sys.platform)


def test_a_small_model_and_an_impossible_one(tmp_path: Path) -> None:
    small = by_id(look(here(tmp_path, MODEL.format("echo"))))
    assert set(small) == set(ABOUT)
    assert small["memory.fits"].verdict in {"ok", "warn"}
    assert "judged by its files" in small["memory.fits"].cause
    huge = by_id(look(here(tmp_path, MODEL.format("echo"), size_bytes=2**50)))["memory.fits"]
    assert (huge.verdict, huge.subject) == ("fail", "org/a")
    assert "never more than" in huge.cause


def test_what_is_in_memory_and_what_was_never_listed(tmp_path: Path) -> None:
    unknown = here(tmp_path, MODEL.format("echo"), is_known=False)
    assert by_id(look(unknown))["memory.fits"].verdict == "skipped"
    loaded = replace(unknown, status={"slots": [{"model": "org/a"}]})
    assert by_id(look(loaded))["memory.fits"].verdict == "ok"


def test_engines(tmp_path: Path) -> None:
    assert by_id(look(here(tmp_path, MODEL.format("echo"))))["engine.available"].verdict == "warn"
    text = MODEL.format("llamacpp") + '[engines.llamacpp]\nprogram = "{}"\n'
    lost = by_id(look(here(tmp_path, text.format("/nowhere/llama-server"))))["engine.available"]
    assert (lost.verdict, lost.subject) == ("fail", "org/a")
    assert lost.cause.startswith("llamacpp: ")
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\necho version: 4711\n")
    program.chmod(0o755)
    there = by_id(look(here(tmp_path, text.format(program))))["engine.available"]
    assert there.verdict == "ok"
    assert there.cause.startswith("llamacpp 4711")


def test_no_models(tmp_path: Path) -> None:
    found = by_id(look(here(tmp_path, "", is_known=False)))
    assert found["memory.fits"].verdict == found["engine.available"].verdict == "skipped"


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
@pytest.mark.parametrize(("limit_mib", "verdict"), [(512, "warn"), (8192, "ok")])
def test_a_control_group(tmp_path: Path, limit_mib: int, verdict: str) -> None:
    made = ground(tmp_path)
    (made.root / "proc" / "self").mkdir(parents=True)
    (made.root / "proc" / "self" / "cgroup").write_text("0::/a\n")
    group = made.root / "sys" / "fs" / "cgroup" / "a"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{limit_mib * 2**20}\n")
    (group / "memory.current").write_text("0\n")
    found = by_id(look(made))["limits.memory"]
    assert found.verdict == verdict
    assert "of a limit of" in found.cause


def test_the_agents_own_process_shows_its_limits() -> None:
    if sys.platform == "linux":
        text = Path(f"/proc/{os.getpid()}/limits").read_text()
        for words in ("Max open files", "Max core file size"):
            assert f"\n{words} " in text, "the kernel's own words"
