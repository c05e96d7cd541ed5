"""Who leaves the cache: examples, and the laws that hold for any of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.quota import (
    GIB,
    Held,
    Room,
    make_room,
    over_quota,
    reserve_bytes,
)


def build(name: str, size_bytes: int, used_s: float = 0.0) -> Held:
    return Held(name, name, size_bytes, last_used_s=used_s)


def disk(free: int, *, reserve: int = 10, quota: int | None = None, size: int = 1000) -> Room:
    return Room(size, free, reserve, quota)


@pytest.mark.parametrize(
    ("disk_gib", "asked_gib", "ratio", "gib"),
    [(100, None, 0.05, 10), (1000, None, 0.05, 50), (100, 0.0, 0.0, 0), (100, 2.0, 0.05, 5)],
)
def test_the_reserve(disk_gib: int, asked_gib: float | None, ratio: float, gib: int) -> None:
    assert reserve_bytes(disk_gib * GIB, asked_gib=asked_gib, asked_ratio=ratio) == gib * GIB


def test_what_fits_disturbs_nobody() -> None:
    held = [build("a", 100)]
    verdict = make_room(50, room=disk(60), held=held, protected=())
    assert (verdict.leave, verdict.fits) == ((), True)


def test_the_longest_unused_leaves_first_and_no_more_than_needed() -> None:
    held = [build("new", 50, 3.0), build("old", 50, 1.0), build("mid", 50, 2.0)]
    assert make_room(60, room=disk(60), held=held, protected=()).leave == ("old",)
    assert make_room(120, room=disk(60), held=held, protected=()).leave == ("old", "mid")
    assert make_room(60, room=disk(60), held=held, protected={"old"}).leave == ("mid",)


def test_what_is_damaged_or_unfinished_leaves_before_a_build() -> None:
    torn = Held("torn", None, 50, last_used_s=9.0, is_whole=False)
    held = [build("old", 50, 1.0), torn]
    assert make_room(60, room=disk(60), held=held, protected=()).leave == ("torn",)


def test_what_partial_downloads_still_need_is_taken_already() -> None:
    begun = Held("begun", None, 10, pending_bytes=80, is_whole=False)
    verdict = make_room(20, room=disk(100), held=[begun], protected={"begun"})
    assert (verdict.fits, verdict.lacking_bytes, verdict.reason) == (False, 10, "reserve")
    assert make_room(20, room=disk(100), held=[begun], protected=()).leave == ("begun",)


def test_the_quota_binds_on_an_empty_disk() -> None:
    held = [build("a", 80, 1.0)]
    room = disk(900, quota=100)
    assert make_room(30, room=room, held=held, protected=()).leave == ("a",)
    verdict = make_room(30, room=room, held=held, protected={"a"})
    assert (verdict.leave, verdict.lacking_bytes, verdict.reason) == ((), 10, "quota")


def test_nobody_leaves_for_nothing() -> None:
    verdict = make_room(500, room=disk(60), held=[build("a", 100)], protected=())
    assert (verdict.leave, verdict.fits) == ((), False)
    assert make_room(0, room=disk(0), held=[build("a", 100)], protected=()).leave == ()


def test_pruning_does_what_it_can() -> None:
    held = [build("a", 5, 1.0), build("b", 50, 2.0)]
    assert over_quota(room=disk(0, reserve=100), held=held, protected={"b"}) == ("a",)
    assert over_quota(room=disk(20), held=held, protected=()) == ()
    assert over_quota(room=disk(20, quota=54), held=held, protected=()) == ("a",)


SIZES = st.integers(0, 200)
HELD = st.lists(
    st.builds(
        Held,
        folder=st.text("abcdef", min_size=1, max_size=3),
        model=st.none() | st.just("m"),
        size_bytes=SIZES,
        pending_bytes=SIZES,
        last_used_s=st.floats(0, 100),
        is_whole=st.booleans(),
    ),
    unique_by=lambda one: one.folder,
    max_size=6,
)
ROOMS = st.builds(Room, st.just(1000), st.integers(0, 1000), SIZES, st.none() | SIZES)


@given(needs=SIZES, room=ROOMS, held=HELD, data=st.data())
def test_laws(needs: int, room: Room, held: list[Held], data: st.DataObject) -> None:
    names = [one.folder for one in held]
    protected = data.draw(st.sets(st.sampled_from(names))) if names else set[str]()
    verdict = make_room(needs, room=room, held=held, protected=protected)
    assert not set(verdict.leave) & protected, "what is protected never leaves"
    assert len(set(verdict.leave)) == len(verdict.leave)
    stays = [one for one in held if one.folder not in verdict.leave]
    gave = sum(one.size_bytes for one in held) - sum(one.size_bytes for one in stays)
    free = room.free_bytes + gave - sum(one.pending_bytes for one in stays)
    taken = sum(one.size_bytes + one.pending_bytes for one in stays)
    if verdict.fits and needs:
        assert free - needs >= room.reserve_bytes, "the reserve holds"
        assert room.quota_bytes is None or taken + needs <= room.quota_bytes, "so does the quota"
    if not verdict.fits:
        assert verdict.leave == (), "to evict for nothing helps no one"
        everybody = {one.folder for one in held} - protected
        rest = [one for one in held if one.folder not in everybody]
        freed = sum(one.size_bytes for one in held) - sum(one.size_bytes for one in rest)
        most = room.free_bytes + freed - sum(one.pending_bytes for one in rest)
        full = sum(one.size_bytes + one.pending_bytes for one in rest) + needs
        over_disk = needs + room.reserve_bytes - most
        over = 0 if room.quota_bytes is None else full - room.quota_bytes
        assert verdict.lacking_bytes == max(over_disk, over), "it says what is really missing"
    if verdict.leave:
        last = next(one for one in held if one.folder == verdict.leave[-1])
        before = [*stays, last]
        gave -= last.size_bytes
        free = room.free_bytes + gave - sum(one.pending_bytes for one in before)
        taken = sum(one.size_bytes + one.pending_bytes for one in before)
        is_short = free - needs < room.reserve_bytes
        is_over = room.quota_bytes is not None and taken + needs > room.quota_bytes
        assert is_short or is_over, "the last to leave had to"
