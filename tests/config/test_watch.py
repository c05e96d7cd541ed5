"""Edits, in every way in which editors and mounts make them."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolhand.config.layers import read_files
from poolhand.config.watch import DOUBTFUL_QUIET_S, QUIET_S, WRITTEN_QUIET_S, Seen, Watch, see

OLD, NEW = b"[slots]\nmax_model_slots = 1\n", b"[slots]\nmax_model_slots = 2\n"


class Desk:
    """A configuration under watch, with a clock of its own.

    Attributes:
        now_s: What the watch is told.
    """

    def __init__(self, path: Path, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self.now_s = 100.0
        self.watch = Watch(path, read_files(path), clock_ns=clock_ns)

    def look(self, after_s: float = 0.0) -> Seen | None:
        self.now_s += after_s
        return self.watch.look(self.now_s)

    def settles(self, quiet_s: float) -> Seen:
        """What is taken once it was quiet for so long, and not before."""
        assert self.look() is None, "seen, and not taken at once"
        assert self.watch.is_waiting
        assert self.look(quiet_s - 0.01) is None
        seen = self.look(0.02)
        assert seen is not None
        assert self.look(9.0) is None, "and taken once"
        assert not self.watch.is_waiting
        return seen


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    path = tmp_path / "agent.toml"
    path.write_bytes(OLD)
    return Desk(path)


def replaced(path: Path) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(NEW)
    beside.replace(path)


def written(path: Path) -> None:
    path.write_bytes(NEW)


def patched(path: Path) -> None:
    facts = path.stat()
    with path.open("r+b") as file:
        file.write(NEW)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as if nothing had happened


def backed_up(path: Path) -> None:
    path.rename(path.with_name("agent.toml~"))
    path.write_bytes(NEW)


def made_again(path: Path) -> None:
    path.unlink()
    path.write_bytes(NEW)


def linked(path: Path) -> None:
    (path.parent / "elsewhere.toml").write_bytes(NEW)
    path.unlink()
    path.symlink_to("elsewhere.toml")


@pytest.mark.parametrize("edit", [replaced, written, patched, backed_up, made_again, linked])
def test_every_way_of_saving_is_seen(desk: Desk, edit: Callable[[Path], None]) -> None:
    assert desk.look() is None
    assert desk.look(5.0) is None
    edit(desk.path)
    assert desk.look() is None, "not before it has stayed the same for a while"
    seen = desk.look(WRITTEN_QUIET_S)
    assert seen is not None
    assert seen.files == {desk.path: NEW}


def test_a_file_that_was_replaced_needs_less_patience(desk: Desk) -> None:
    replaced(desk.path)
    desk.settles(QUIET_S)
    written(desk.path)
    desk.path.write_bytes(OLD)
    desk.settles(WRITTEN_QUIET_S)


def test_a_mounted_folder_is_swapped(tmp_path: Path) -> None:
    """As Kubernetes does it: the file is a link through ``..data``, which is renamed over."""
    for name, text in {"..1": OLD, "..2": NEW}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "agent.toml").write_bytes(text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "agent.toml").symlink_to("..data/agent.toml")
    desk = Desk(tmp_path / "agent.toml")
    assert desk.look() is None
    (tmp_path / "..tmp").symlink_to("..2")
    (tmp_path / "..tmp").replace(tmp_path / "..data")
    shutil.rmtree(tmp_path / "..1")
    assert desk.settles(QUIET_S).files == {desk.path: NEW}


def test_files_of_the_folder_come_change_and_go(desk: Desk) -> None:
    folder = desk.path.with_suffix(".d")
    folder.mkdir()
    (folder / ".#a.toml").symlink_to("nobody@nowhere")  # as Emacs locks a file
    assert desk.look(5.0) is None
    one = folder / "a.toml"
    one.write_bytes(NEW)
    assert desk.settles(QUIET_S).files == {desk.path: OLD, one: NEW}
    one.write_bytes(OLD)
    assert desk.settles(WRITTEN_QUIET_S).files == {desk.path: OLD, one: OLD}
    one.unlink()
    assert desk.settles(QUIET_S).files == {desk.path: OLD}


@pytest.mark.parametrize(
    "half", [b"", b"[slots]\nmax_mo", b"[slots]\nmax_model_slots = 2", b"# x\n"]
)
def test_what_may_be_half_a_file_is_waited_for(desk: Desk, half: bytes) -> None:
    desk.path.write_bytes(half)
    assert desk.look() is None
    assert desk.look(DOUBTFUL_QUIET_S - 0.1) is None
    desk.path.write_bytes(NEW)
    assert desk.settles(WRITTEN_QUIET_S).files == {desk.path: NEW}, "the half was never taken"
    desk.path.write_bytes(half)
    assert desk.settles(DOUBTFUL_QUIET_S).files == {desk.path: half}, "but it may be meant"


def test_a_file_that_is_gone_for_a_moment(desk: Desk) -> None:
    desk.path.unlink()
    assert desk.look() is None
    assert desk.look(DOUBTFUL_QUIET_S - 0.1) is None
    desk.path.write_bytes(OLD)
    assert desk.look(9.0) is None, "it is as it was"
    desk.path.unlink()
    seen = desk.settles(DOUBTFUL_QUIET_S)
    assert "No such file" in str(seen.error)
    desk.path.write_bytes(OLD)
    assert desk.settles(QUIET_S).files == {desk.path: OLD}


def test_an_edit_that_is_undone_was_none(desk: Desk) -> None:
    written(desk.path)
    assert desk.look() is None
    desk.path.write_bytes(OLD)
    assert desk.look(9.0) is None
    os.utime(desk.path)
    assert desk.look(9.0) is None
    assert not desk.watch.is_waiting


def test_what_somebody_else_has_read_is_not_new(desk: Desk) -> None:
    written(desk.path)
    desk.watch.take(see(desk.path))
    assert desk.look(9.0) is None


def test_an_old_file_is_looked_at_by_its_times_and_still_seen_to_change(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_bytes(OLD)
    desk = Desk(path, lambda: time.time_ns() + 60 * 10**9)
    assert desk.look() is None
    os.utime(path, ns=(0, path.stat().st_mtime_ns))
    assert desk.look(1.0) is None
    facts = path.stat()
    with path.open("r+b") as file:
        file.write(NEW)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as some synchronising tools do
    assert desk.settles(WRITTEN_QUIET_S).files == {path: NEW}


STEPS = st.lists(
    st.tuples(st.sampled_from([OLD, NEW, b"", b"x ="]), st.floats(0, 6), st.booleans()), max_size=12
)


@given(STEPS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_laws(tmp_path: Path, steps: list[tuple[bytes, float, bool]]) -> None:
    path = tmp_path / "agent.toml"
    path.write_bytes(OLD)
    desk = Desk(path)
    in_force = OLD
    for content, wait_s, is_replaced in steps:
        if is_replaced:
            path.unlink()
        path.write_bytes(content)
        for after_s in (0.0, wait_s):
            seen = desk.look(after_s)
            if seen is not None:
                assert seen.files[path] == content, "only what is there now is taken"
                assert seen.files[path] != in_force, "only what is new is told"
                in_force = seen.files[path]
    desk.look()
    seen = desk.look(DOUBTFUL_QUIET_S)
    in_force = seen.files[path] if seen else in_force
    assert in_force == path.read_bytes(), "in the end what is there is in force"
