"""When a fetch will be over: to a fifth after its first tenth, however its bytes are bounded."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traces import MB, Fetch, errors, two_shards

from poolhand.agent.weights.outlook import Outlook, Standing, Trail
from poolhand.config.frozen import replace

MOST = 0.2
GB = 10**9


def each(mb_s: float, sizes: Sequence[int], *, starts: int = 8, most: int = 32) -> Fetch:
    """A store that gives each connection so much."""
    return Fetch(sizes, each=mb_s * MB, connections=(starts, most))


def in_all(mb_s: float, sizes: Sequence[int], *, here_ratio: float = 0.0) -> Fetch:
    """A link that gives so much in all."""
    return Fetch(sizes, link=lambda _: mb_s * MB, here_ratio=here_ratio)


TOLD: Mapping[str, Callable[[], Fetch]] = {
    "0.5 MB/s each": lambda: each(0.5, two_shards(100 * MB)),
    "0.5 MB/s each, one file": lambda: each(0.5, [100 * MB]),
    "0.5 MB/s each, a gigabyte": lambda: each(0.5, two_shards(1000 * MB)),
    "2 MB/s each": lambda: each(2, two_shards(1000 * MB)),
    "10 MB/s each, up to 64": lambda: each(10, two_shards(4e9), most=64),
    "1 MB/s each, always 4": lambda: each(1, two_shards(200 * MB), starts=4, most=4),
    "1 MB/s each, always 64": lambda: each(1, two_shards(400 * MB), starts=64, most=64),
    "5 MB/s": lambda: in_all(5, two_shards(100 * MB)),
    "5 MB/s, one file": lambda: in_all(5, [100 * MB]),
    "100 MB/s": lambda: in_all(100, two_shards(4e9)),
    "300 kB/s": lambda: in_all(0.3, two_shards(20 * MB)),
    "as fast as the processor": lambda: Fetch(
        two_shards(9e9), link=lambda _: 1.5e9, first_s=0.0, connections=(2, 2)
    ),
    "one file, digested at a third of its pace": lambda: Fetch(
        [9 * GB], link=lambda _: 0.75 * GB, first_s=0.0, connections=(2, 2), digests=(GB / 4, GB)
    ),
    "two files, digested at half of their pace": lambda: Fetch(
        two_shards(9e9),
        link=lambda _: 0.75 * GB,
        first_s=0.0,
        connections=(2, 2),
        digests=(0.2e9, GB),
    ),
    "100 MB/s, digested a little slower": lambda: Fetch(
        [2 * GB], link=lambda _: 0.1e9, digests=(0.09e9, 0.2e9)
    ),
    "all but a tenth was here, and is read again": lambda: Fetch(
        [9 * GB], link=lambda _: 0.2e9, here_ratio=0.9, digests=(0.5e9, GB)
    ),
    "a limit of 4 MB/s": lambda: Fetch(two_shards(100 * MB), limit=4 * MB),
    "a limit of 500 kB/s": lambda: Fetch(two_shards(10 * MB), limit=0.5 * MB),
}


@pytest.mark.parametrize("percent", [30, 60, 90])
def test_a_fetch_that_goes_on_is_right_to_a_fifth(percent: int) -> None:
    shards, ratio = two_shards(1000 * MB), percent / 100
    for fetch in (
        Fetch(shards, each=0.5 * MB, here_ratio=ratio),
        in_all(2, shards, here_ratio=ratio),
    ):
        assert max(errors(fetch.run())) <= MOST


@pytest.mark.parametrize("name", TOLD)
def test_the_time_left_is_right_to_a_fifth(name: str) -> None:
    found = errors(TOLD[name]().run())
    assert found, "it takes long enough to say something"
    assert max(found) <= MOST


@pytest.mark.parametrize(
    "sizes",
    [
        [10_000 + at * at * 7919 % 390_000 for at in range(300)],
        [60 * MB, *(1000 + at * at * 7919 % 99_000 for at in range(200))],
    ],
    ids=["300 small files", "one large file and 200 small ones"],
)
def test_small_files_are_right_in_the_middle(sizes: list[int]) -> None:
    """Each takes a round trip that says nothing of the bytes; the first tenth may hold most."""
    found = sorted(errors(Fetch(sizes, link=lambda _: 4 * MB, first_s=0.05).run()))
    assert found[len(found) // 2] <= 0.1
    assert found[len(found) * 3 // 4] <= MOST


def test_a_link_that_is_halved_is_believed_within_five_seconds() -> None:
    fetch = Fetch(two_shards(1200 * MB), link=lambda now_s: (20 if now_s < 30 else 10) * MB)
    told = fetch.run()
    ends_s = told[0][1]
    later = [point for point in told if ends_s - point[1] >= 35]
    assert max(errors(later)) <= MOST


def test_a_link_that_stutters_is_not_taken_for_another_one() -> None:
    """Seconds of plenty and of nothing: the mean is what counts."""
    fetch = Fetch(two_shards(800 * MB), link=lambda now_s: (20 if int(now_s) % 2 else 1) * MB)
    found = sorted(errors(fetch.run()))
    assert found[len(found) // 2] <= 0.1
    assert found[len(found) * 4 // 5] <= 0.25


@settings(max_examples=12, deadline=None)
@given(
    each=st.floats(0.3, 20.0),
    seconds=st.integers(20, 60),
    ratio=st.floats(0.0, 0.9),
    shards=st.integers(1, 4),
)
def test_law_where_each_connection_brings_so_much(
    each: float, seconds: int, ratio: float, shards: int
) -> None:
    """Of fetches that take a while: in the first seconds nobody knows what more would bring."""
    total = int(each * MB * 8 * seconds / (1 - ratio))
    fetch = Fetch([total // shards] * shards, each=each * MB, here_ratio=ratio)
    found = sorted(errors(fetch.run(), least_left_s=4.0))
    if found:
        assert found[len(found) // 2] <= MOST
        assert found[-1] <= 0.5


@settings(max_examples=12, deadline=None)
@given(rate=st.floats(2.0, 200.0), seconds=st.integers(25, 60), ratio=st.floats(0.0, 0.9))
def test_law_where_the_link_gives_so_much(rate: float, seconds: int, ratio: float) -> None:
    total = rate * MB * seconds / (1 - ratio)
    fetch = Fetch(two_shards(total), link=lambda _: rate * MB, here_ratio=ratio, first_s=0.02)
    found = sorted(errors(fetch.run(), least_left_s=4.0))
    assert found[len(found) * 9 // 10] <= MOST


def test_nothing_is_told_before_something_came() -> None:
    outlook, standing = Outlook(1000), Standing(0, ((0, 0, 500),), 1, 1, 100)
    assert outlook.left_s is None
    for now_s in range(10):
        outlook.look(standing, 0, float(now_s))
        assert (outlook.left_s, outlook.rate_bytes_s or 0.0) == (None, 0.0)


def test_nothing_is_told_when_all_of_it_is_here_and_digested() -> None:
    outlook = Outlook(100)
    for now_s in range(11):
        outlook.look(Standing(now_s * 10, (), 1, 1, 10), 0, float(now_s))
        assert outlook.left_bytes == 100 - now_s * 10
        assert (outlook.left_s is None) is (now_s in {0, 1, 10})


def test_what_was_here_is_not_counted_as_fetched() -> None:
    outlook = Outlook(1000)
    for now_s in range(6):
        outlook.look(Standing(900, ((0, now_s * 10, 100),), 1, 1, 10), 900, float(now_s))
    assert outlook.rate_bytes_s == pytest.approx(10.0)
    assert outlook.left_s == pytest.approx(5.0, rel=0.3)


NO_TRAIL = Trail()
LINE = Standing(0, ((0, 0, 10**9),), 1, 1, 2**20, is_limited=True)
"""One connection that brings a gigabyte; never more than one."""


def steady(now_s: float, rate: float, trail: Trail = NO_TRAIL) -> tuple[Standing, float, Trail]:
    """A line that brings so much a second, so long after its first byte."""
    read = (0, min(10**9, int(rate * now_s) + 1), 10**9)
    return replace(LINE, reads=(read,)), now_s, trail


def outlook_of(looks: Iterable[tuple[Standing, float, Trail]]) -> Outlook:
    outlook = Outlook(10**9)
    for standing, now_s, trail in looks:
        outlook.look(standing, 0, now_s, trail)
    return outlook


ticks = st.lists(st.floats(0.2, 3.0), min_size=3, max_size=30).map(
    lambda waits: [sum(waits[:at]) for at in range(len(waits) + 1)]
)


@given(ticks, st.floats(1e6, 9e6), st.floats(0.05, 0.95), st.floats(1.0, 20.0))
def test_law_digests_that_are_slower_by_a_ratio(
    at_s: list[float], rate: float, ratio: float, alone: float
) -> None:
    """Bytes to the end at their pace, then what is left to digest at the pace of that."""

    def trail(now_s: float) -> Trail:
        here = int(rate * now_s) + 1
        return Trail((here - int(here * ratio),), 10**9 - here, rate * alone)

    told = outlook_of(steady(now_s, rate, trail(now_s)) for now_s in at_s)
    bytes_s = 10**9 / rate - at_s[-1]
    assert told.left_s == pytest.approx(bytes_s + 10**9 * (1 - ratio) / (rate * alone), rel=0.05)


trails = st.builds(
    Trail,
    st.lists(st.integers(0, 10**9), max_size=9).map(tuple),
    st.integers(0, 10**9),
    st.none() | st.floats(1e3, 1e10),
    st.integers(1, 9),
)


@settings(max_examples=40)
@given(ticks, st.lists(trails, min_size=31, max_size=31))
def test_law_digests_never_make_it_sooner(at_s: list[float], them: list[Trail]) -> None:
    without = outlook_of(steady(now_s, 1e6) for now_s in at_s)
    behind = outlook_of(steady(now_s, 1e6, trail) for now_s, trail in zip(at_s, them, strict=False))
    assert without.left_s is not None
    assert behind.left_s is not None
    assert behind.left_s >= without.left_s


@given(ticks, st.integers(0, 10**6))
def test_law_digests_that_keep_up_add_what_they_are_behind(at_s: list[float], lag: int) -> None:
    without = outlook_of(steady(now_s, 1e6) for now_s in at_s)
    behind = outlook_of(
        steady(now_s, 1e6, Trail((lag,), 10**9 - int(1e6 * now_s), 1e6)) for now_s in at_s
    )
    assert behind.left_s == pytest.approx((without.left_s or 0.0) + lag / 1e6)


def test_files_are_digested_side_by_side_and_the_longest_counts() -> None:
    for lags, most, seconds in [
        ((600, 200), 2, 6),
        ((400, 400), 2, 4),
        ((400, 400), 1, 8),
        ((100,) * 8, 4, 2),
        ((), 4, None),
    ]:
        outlook = Outlook(0)
        outlook.look(replace(LINE, reads=()), 0, 0.0, Trail(lags, 0, 100.0, most))
        assert outlook.left_s == seconds


def test_after_the_last_byte_what_is_seen_counts_more_than_what_was_meant() -> None:
    """The processor may belong to somebody else, too."""
    outlook = Outlook(0)
    for at in range(9):
        trail = Trail((1000 - 50 * at,), 0, 1000.0)
        outlook.look(replace(LINE, reads=()), 0, at / 4, trail)
        assert outlook.left_s == pytest.approx((20 - at) / 4 if at > 1 else 1 - at / 20)


def test_what_nobody_had_foreseen_is_not_guessed() -> None:
    """Eight where two were: until it is seen what they bring, what was told goes on."""
    looks = [steady(at / 4, 1e7) for at in range(20)]
    told = outlook_of(looks)
    before_s = told.left_s
    assert before_s is not None
    many = replace(looks[-1][0], connections=8, most=32, is_limited=False)
    told.look(many, 0, 5.0)
    assert told.left_s == pytest.approx(before_s - 0.25, abs=0.01)
    told.look(many, 0, 5.5)
    assert told.left_s != pytest.approx(before_s - 0.75, abs=1.0)


standings = st.builds(
    Standing,
    st.integers(0, 10**9),
    st.lists(
        st.lists(st.integers(0, 10**6), min_size=3, max_size=3).map(lambda at: tuple(sorted(at))),
        max_size=70,
    ).map(tuple),
    st.integers(0, 64),
    st.integers(0, 64),
    st.integers(1, 10**6),
    st.booleans(),
)


@given(st.integers(0, 10**9), st.lists(st.tuples(standings, trails, st.floats(0, 30)), max_size=40))
def test_law_whatever_happens_it_is_a_time_or_unknown(
    total: int, looks: list[tuple[Standing, Trail, float]]
) -> None:
    outlook, now_s = Outlook(total), 0.0
    for standing, trail, wait_s in looks:
        now_s += wait_s
        outlook.look(standing, 0, now_s, trail)
        left_s = outlook.left_s
        assert left_s is None or (left_s >= 0 and math.isfinite(left_s))
