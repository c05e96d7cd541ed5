"""The journal never claims a missing byte: cut anywhere, killed anywhere, after any boot."""

import resource
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.journal import (
    Claims,
    Header,
    Journal,
    Listed,
    Seal,
    carry_over,
    load,
    nothing,
    read,
)
from poolhand.agent.weights.record import Fingerprint

SEAL = Seal("ab" * 32, Fingerprint(10, 123456789, 42))
HEADER = Header(
    ref="s3://b/m",
    boot_id="boot-1",
    block_bytes=4,
    files=(Listed(path="a", size_bytes=10, etag='"1"'), Listed(path="b", size_bytes=8, etag=None)),
)

Op = tuple[str, int, int]
OPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrived"), st.integers(0, 1), st.integers(0, 1)),
        st.tuples(st.just("forget"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("sealed"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("synced"), st.just(0), st.just(0)),
    ),
    max_size=12,
)


def play(journal: Journal, op: Op) -> None:
    match op:
        case ("arrived", file, block):
            journal.arrived(file, block)
        case ("forget", file, _):
            journal.forget(file)
        case ("sealed", file, _):
            journal.sealed(file, SEAL)
        case _:
            journal.synced(journal.count)


def truth(ops: list[Op]) -> tuple[set[tuple[int, int]], set[int]]:
    """Blocks and seals that hold after these steps."""
    blocks: set[tuple[int, int]] = set()
    seals: set[int] = set()
    for what, file, block in ops:
        if what == "arrived":
            blocks.add((file, block))
        elif what == "sealed":
            seals.add(file)
        elif what == "forget":
            blocks = {(other, at) for other, at in blocks if other != file}
            seals.discard(file)
    return blocks, seals


def said(claims: Claims | None) -> tuple[set[tuple[int, int]], set[int]]:
    if claims is None:
        return set(), set()
    return (
        {(n, at) for n, claim in enumerate(claims.files) for at, x in enumerate(claim.have) if x},
        {n for n, claim in enumerate(claims.files) if claim.seal},
    )


def written(path: Path, ops: list[Op]) -> bytes:
    journal = Journal(path, nothing(HEADER))
    for op in ops:
        play(journal, op)
    journal.close()
    return path.read_bytes()


@given(ops=OPS)
def test_what_was_told_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, ops: list[Op]
) -> None:
    data = written(tmp_path_factory.mktemp("j") / "j", ops)
    assert said(read(data, boot_id="boot-1")) == truth(ops)


@given(ops=OPS, share=st.floats(0, 1))
def test_cut_at_any_byte_it_claims_nothing_untold(
    tmp_path_factory: pytest.TempPathFactory, ops: list[Op], share: float
) -> None:
    data = written(tmp_path_factory.mktemp("j") / "j", ops)
    claimed = said(read(data[: int(len(data) * share)], boot_id="boot-1"))
    prefixes = [truth(ops[:count]) for count in range(len(ops) + 1)]
    assert claimed in prefixes, "a cut journal is the journal of an earlier moment"


def test_cut_at_every_single_byte(tmp_path: Path) -> None:
    ops: list[Op] = [("arrived", 0, 0), ("arrived", 1, 1), ("sealed", 1, 0), ("arrived", 0, 1)]
    data = written(tmp_path / "j", ops)
    prefixes = [truth(ops[:count]) for count in range(len(ops) + 1)]
    seen = [said(read(data[:end], boot_id="boot-1")) for end in range(len(data) + 1)]
    assert all(claimed in prefixes for claimed in seen)
    assert seen[-1] == truth(ops)


def test_a_torn_number_is_not_a_smaller_number(tmp_path: Path) -> None:
    listing = (Listed(path="a", size_bytes=4 * 200, etag=None),)
    journal = Journal(tmp_path / "j", nothing(replace(HEADER, files=listing)))
    journal.arrived(0, 123)
    journal.close()
    data = (tmp_path / "j").read_bytes()
    assert said(read(data, boot_id="boot-1"))[0] == {(0, 123)}
    for torn in range(1, 8):
        assert said(read(data[:-torn], boot_id="boot-1"))[0] == set()


@given(ops=OPS)
def test_after_a_power_cut_only_synced_lines_count(
    tmp_path_factory: pytest.TempPathFactory, ops: list[Op]
) -> None:
    data = written(tmp_path_factory.mktemp("j") / "j", ops)
    last = max((n for n, op in enumerate(ops) if op[0] == "synced"), default=0)
    safe_blocks, _ = truth(ops[:last])
    blocks, _ = said(read(data, boot_id="boot-2"))
    forgotten = {file for what, file, _ in ops[last:] if what == "forget"}
    assert blocks == {(file, at) for file, at in safe_blocks if file not in forgotten}


def test_a_line_told_while_syncing_is_not_covered(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", nothing(HEADER))
    journal.arrived(0, 0)
    count = journal.count
    journal.arrived(0, 1)  # between the sync of the file and the line that says so
    journal.synced(count)
    journal.close()
    assert said(load(tmp_path / "j", boot_id="boot-2"))[0] == {(0, 0)}


def test_an_unknown_boot_is_another_boot(tmp_path: Path) -> None:
    header = replace(HEADER, boot_id="")
    journal = Journal(tmp_path / "j", nothing(header))
    journal.arrived(0, 0)
    journal.close()
    assert said(load(tmp_path / "j", boot_id=""))[0] == set()


@pytest.mark.parametrize(
    "garbage",
    [
        *(
            b"\0" * 8,
            b"B 9 0",
            b"B 0 9",
            b"B 0 -1",
            b"B 0",
            b"Q 0 0",
            b"D 0 abc 1 2 3",
            b"B 0 \xb2",
        ),
        *(b"S", b"S x", b"S 1B 0 1"),
    ],
)
def test_nothing_behind_garbage_is_believed(tmp_path: Path, garbage: bytes) -> None:
    data = written(tmp_path / "j", [("arrived", 0, 0)])
    claims = read(data + garbage + b"\nB 1 1\n", boot_id="boot-1")
    assert said(claims)[0] == {(0, 0)}


def test_a_line_that_a_torn_one_swallowed_has_nobody_count_wrong(tmp_path: Path) -> None:
    """A full disk took half of an ``S`` line and then had room again: two lines became one."""
    data = written(tmp_path / "j", [("arrived", 0, 0)])
    claims = read(data + b"S 1B 0 1\nS 2\nB 1 0\n", boot_id="boot-2")
    assert said(claims)[0] == {(0, 0)}, "only two lines were synced, and the last is the third"


@pytest.fixture
def room() -> Generator[Callable[[Path, int], None]]:
    """Gives a file so many bytes more; what goes beyond is cut off, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def leave(path: Path, more_bytes: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + more_bytes, before[1]))

    yield leave
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("what", ["arrived", "forget", "sealed", "synced"])
@pytest.mark.parametrize("more_bytes", [0, 1, 3])
def test_a_line_that_found_no_room_is_none(
    tmp_path: Path, room: Callable[[Path, int], None], what: str, more_bytes: int
) -> None:
    path = tmp_path / "j"
    journal = Journal(path, nothing(HEADER))
    journal.arrived(0, 0)
    before, count = path.read_bytes(), journal.count
    room(path, more_bytes)
    with pytest.raises(OSError, match="too large"):
        play(journal, (what, 1, 0))
    assert (path.read_bytes(), journal.count) == (before, count)
    room(path, 100)
    journal.arrived(1, 1)
    journal.close()
    assert said(load(path, boot_id="boot-1"))[0] == {(0, 0), (1, 1)}


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_a_word(data: bytes) -> None:
    assert said(read(data, boot_id="x")) == (set(), set())


@given(st.binary(max_size=60))
def test_any_tail_is_survived(tail: bytes) -> None:
    data = HEADER.encode() + b"\nB 0 1\n"
    claims = read(data + tail, boot_id="boot-1")
    assert claims is not None
    assert [len(claim.have) for claim in claims.files] == [3, 2]


@pytest.mark.parametrize("change", [{"block_bytes": 0}, {"block_bytes": -4}])
def test_a_header_that_cannot_be_is_none(change: dict[str, int]) -> None:
    data = replace(HEADER, **change).encode() + b"\n"
    assert read(data, boot_id="boot-1") is None


def test_a_new_journal_says_what_the_old_one_said(tmp_path: Path) -> None:
    ops: list[Op] = [("arrived", 0, 0), ("sealed", 1, 0), ("arrived", 1, 1)]
    old = read(written(tmp_path / "j", ops), boot_id="boot-1")
    Journal(tmp_path / "j", carry_over(old, HEADER)).close()
    assert said(load(tmp_path / "j", boot_id="boot-1")) == truth(ops)
    assert not (tmp_path / "j.new").exists()


@pytest.mark.parametrize("change", [{"etag": '"2"'}, {"size_bytes": 12}, {"path": "c"}])
def test_a_changed_file_is_forgotten_and_no_other(
    tmp_path: Path, change: dict[str, object]
) -> None:
    old = read(written(tmp_path / "j", [("arrived", 0, 0), ("arrived", 1, 0)]), boot_id="boot-1")
    first, second = HEADER.files
    listing = (replace(first, **change), second)
    new = carry_over(old, replace(HEADER, files=listing))
    assert said(new)[0] == {(1, 0)}


def test_another_source_begins_anew(tmp_path: Path) -> None:
    old = read(written(tmp_path / "j", [("arrived", 0, 0)]), boot_id="boot-1")
    assert said(carry_over(old, replace(HEADER, ref="s3://b/other")))[0] == set()


def test_a_file_that_makes_the_build_longer_costs_nothing_that_is_here(tmp_path: Path) -> None:
    """It is cut into other blocks then."""
    old = read(written(tmp_path / "j", [("arrived", 0, 0), ("arrived", 0, 1)]), boot_id="boot-1")
    longer = replace(HEADER, block_bytes=2 * HEADER.block_bytes)
    assert said(carry_over(old, longer))[0] == {(0, 0)}


def test_files_may_move_in_the_listing(tmp_path: Path) -> None:
    old = read(written(tmp_path / "j", [("arrived", 0, 2)]), boot_id="boot-1")
    new = carry_over(old, replace(HEADER, files=HEADER.files[::-1]))
    assert said(new)[0] == {(1, 2)}


def test_bytes_here_counts_short_blocks_and_seals(tmp_path: Path) -> None:
    ops: list[Op] = [("arrived", 0, 0), ("sealed", 1, 0)]
    journal = Journal(tmp_path / "j", nothing(HEADER))
    for op in ops:
        play(journal, op)
    journal.arrived(0, 2)
    journal.close()
    claims = load(tmp_path / "j", boot_id="boot-1")
    assert claims is not None
    assert claims.bytes_here == 4 + 2 + 8


def test_a_straggler_after_the_close_is_dropped(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", nothing(HEADER))
    journal.close()
    journal.arrived(0, 0)
    journal.synced(1)
    journal.close()
    assert said(load(tmp_path / "j", boot_id="boot-1"))[0] == set()


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    listing = tuple(Listed(path=f"{n}", size_bytes=4 * 200, etag=None) for n in range(4))
    journal = Journal(tmp_path / "j", nothing(replace(HEADER, files=listing)))

    def claim(file: int) -> None:
        for block in range(200):
            journal.arrived(file, block)

    threads = [threading.Thread(target=claim, args=(file,)) for file in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    claims = load(tmp_path / "j", boot_id="boot-1")
    assert claims is not None
    assert all(all(claim.have) for claim in claims.files)
    assert journal.count == 800


def test_no_journal_is_no_claim(tmp_path: Path) -> None:
    assert load(tmp_path / "none", boot_id="x") is None
    assert load(tmp_path, boot_id="x") is None


def test_marks_stay_with_a_file_until_it_is_forgotten(tmp_path: Path) -> None:
    marks = ("cd" * 32, "ab" * 32)
    journal = Journal(tmp_path / "j", nothing(HEADER))
    journal.sealed(0, SEAL, marks)
    journal.close()
    claims = load(tmp_path / "j", boot_id="boot-1")
    assert claims is not None
    assert [claim.marks for claim in claims.files] == [marks, ()]
    again = Journal(tmp_path / "k", carry_over(claims, HEADER))
    again.forget(0)
    again.close()
    lines = (tmp_path / "k").read_bytes().splitlines()
    assert f"M 0 {' '.join(marks)}".encode() in lines
    claims = load(tmp_path / "k", boot_id="boot-1")
    assert claims is not None
    assert claims.files[0].marks == ()
