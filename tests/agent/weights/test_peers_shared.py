"""What of an unfinished build may be passed on, told by one process and read by another."""

import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from poolhand.agent.weights.cache import SHARED_NAME
from poolhand.agent.weights.peers_shared import Shared, Sharing

A, B = "a" * 64, "b" * 64
FILES = [(A, 1000, "one.safetensors"), (B, 500, "sub dir/two.json")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / SHARED_NAME


def test_nothing_is_offered_where_nothing_is_fetched(path: Path) -> None:
    assert Shared(path).look() == []


def test_what_came_from_the_store_is_offered_as_it_comes(path: Path) -> None:
    sharing, shared = Sharing(path, FILES), Shared(path)
    one, two = shared.look()
    assert (one.sha256, one.size_bytes, one.path) == FILES[0]
    assert (two.sha256, two.size_bytes, two.path) == FILES[1]
    assert one.reach(0) == 0
    sharing.arrived(0, 100, 200)
    assert shared.look()[0].reach(100) == 200
    sharing.arrived(0, 200, 300)
    sharing.arrived(0, 400, 500)
    one = shared.look()[0]
    assert (one.reach(100), one.reach(299), one.reach(300), one.reach(450)) == (300, 300, 300, 500)
    assert not one.is_whole
    sharing.close()


def test_what_is_being_read_is_told_of(path: Path) -> None:
    sharing, shared = Sharing(path, FILES), Shared(path)
    sharing.claimed(0, 100, 200)
    one = shared.look()[0]
    assert one.is_coming(150)
    assert not one.is_coming(200)
    assert one.reach(150) == 150
    sharing.close()


def test_what_a_peer_brought_is_kept(path: Path) -> None:
    sharing, shared = Sharing(path, FILES), Shared(path)
    sharing.kept(0, 100, 200)
    one = shared.look()[0]
    assert one.is_kept(150)
    assert one.reach(150) == 150
    assert not one.is_coming(150)
    sharing.whole(0)
    one = shared.look()[0]
    assert not one.is_kept(150)
    assert one.reach(150) == 1000
    sharing.close()


def test_what_was_seen_does_not_change_under_who_looks_at_it(path: Path) -> None:
    """Many connections read it while the next look goes on."""
    sharing, shared = Sharing(path, FILES), Shared(path)
    sharing.arrived(0, 0, 10)
    seen = shared.look()[0]
    sharing.arrived(0, 10, 20)
    sharing.claimed(0, 40, 50)
    sharing.kept(0, 60, 70)
    now = shared.look()[0]
    assert (seen.ranges, seen.claims, seen.kept) == ({0: 10}, {}, {})
    assert (now.ranges, now.claims, now.kept) == ({0: 20}, {40: 50}, {60: 70})
    sharing.close()


def test_a_whole_file_is_offered_whole_until_it_is_forgotten(path: Path) -> None:
    sharing, shared = Sharing(path, FILES), Shared(path)
    sharing.whole(1)
    assert shared.look()[1].is_whole
    sharing.forget(1)
    assert not shared.look()[1].is_whole
    assert shared.look()[1].reach(0) == 0
    sharing.close()


def test_how_far_it_is_is_told(path: Path) -> None:
    sharing, shared = Sharing(path, FILES), Shared(path)
    _ = shared.look()
    assert shared.progress_bytes == 0
    sharing.progressed(123)
    sharing.progressed(456)
    _ = shared.look()
    assert shared.progress_bytes == 456
    sharing.close()


def test_what_a_killed_fetch_left_is_not_believed(path: Path) -> None:
    _ = path.write_text(f"F {A} 1000 one\nW 0\n")
    assert Shared(path).look() == []


def test_a_fetch_that_begins_anew_begins_with_nothing(path: Path) -> None:
    shared = Shared(path)
    first = Sharing(path, FILES)
    first.arrived(0, 0, 1000)
    assert shared.look()[0].reach(0) == 1000
    second = Sharing(path, FILES)
    assert shared.look()[0].reach(0) == 0
    second.close()
    assert shared.look() == []
    first.close()


def test_a_line_without_its_end_waits_for_it(path: Path) -> None:
    sharing, shared = Sharing(path, FILES), Shared(path)
    with path.open("ab") as file:
        _ = file.write(b"B 0 0 9")
        file.flush()
        assert shared.look()[0].reach(0) == 0
        _ = file.write(b"00\n")
    assert shared.look()[0].reach(0) == 900
    sharing.close()


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a//b", "a\x7fb", ".", "a/../../b"])
def test_a_name_that_leaves_the_folder_is_never_offered(path: Path, name: str) -> None:
    sharing = Sharing(path, [(A, 1000, name), *FILES])
    sharing.arrived(0, 0, 1000)
    sharing.whole(0)
    sharing.arrived(1, 0, 10)
    out, one, _ = Shared(path).look()
    assert out.size_bytes < 0
    assert out.reach(0) == 0
    assert not out.is_whole
    assert one.reach(0) == 10
    sharing.close()


@pytest.mark.parametrize(
    "line", ["B 7 0 1", "B 0 5 5", "B 0 0 9999", "B -1 0 5", "B 0 x 5", "W 9", "Z", "", "F x y z"]
)
def test_a_line_that_means_nothing_changes_nothing(path: Path, line: str) -> None:
    sharing = Sharing(path, FILES)
    with path.open("a") as file:
        _ = file.write(line + "\n")
    sharing.arrived(0, 0, 7)
    one, two = Shared(path).look()
    assert (one.reach(0), two.reach(0)) == (7, 0)
    sharing.close()


SPANS = st.lists(st.tuples(st.integers(0, 99), st.integers(1, 30)), max_size=12)


@given(spans=SPANS)
@settings(max_examples=40)
def test_ranges_say_exactly_which_bytes_came(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("shared") / SHARED_NAME
    sharing = Sharing(path, [(A, 200, "one")])
    here: set[int] = set()
    for start, count in spans:
        sharing.arrived(0, start, start + count)
        here |= set(range(start, start + count))
    (one,) = Shared(path).look()
    sharing.close()
    for at in range(140):
        reach = one.reach(at)
        assert all(byte in here for byte in range(at, reach))
        assert reach not in here
        assert (reach > at) == (at in here)


def test_only_its_owner_may_read_it(path: Path) -> None:
    sharing = Sharing(path, FILES)
    assert os.stat(path).st_mode & 0o077 == 0  # noqa: PTH116  # the file itself
    sharing.close()
