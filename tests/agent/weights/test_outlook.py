"""When a fetch will be over: to a fifth after its first tenth, however its bytes are bounded."""

import math
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traces import MB, Fetch, errors, two_shards

from poolhand.agent.weights.outlook import Outlook, Standing

MOST = 0.2


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
        two_shards(9e9), link=lambda _: 1.5e9, first_s=0.0, is_fast=True
    ),
    "a limit of 4 MB/s": lambda: Fetch(two_shards(100 * MB), limit=4 * MB),
    "a limit of 500 kB/s": lambda: Fetch(two_shards(10 * MB), limit=0.5 * MB),
}


@pytest.mark.parametrize("percent", [30, 60, 90])
def test_a_fetch_that_goes_on_is_right_to_a_fifth(percent: int) -> None:
    shards, ratio = two_shards(400 * MB), percent / 100
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


def test_nothing_is_told_when_all_of_it_is_here() -> None:
    """The last of it may still have to be digested, which nobody has measured."""
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


@given(st.integers(0, 10**9), st.lists(st.tuples(standings, st.floats(0, 30)), max_size=40))
def test_law_whatever_happens_it_is_a_time_or_unknown(
    total: int, looks: list[tuple[Standing, float]]
) -> None:
    outlook, now_s = Outlook(total), 0.0
    for standing, wait_s in looks:
        now_s += wait_s
        outlook.look(standing, 0, now_s)
        left_s = outlook.left_s
        assert left_s is None or (left_s >= 0 and math.isfinite(left_s))
