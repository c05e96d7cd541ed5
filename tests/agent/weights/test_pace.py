"""Connections, the common rate and laggards: examples and laws."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.pace import (
    FEWEST,
    Bucket,
    Crew,
    Opening,
    at_once,
    buffer_bytes,
    laggards,
)


def counts(crew: Crew, rates: list[int]) -> list[int]:
    """How many there are after each two seconds at these rates."""
    sums = accumulate((2 * rate for rate in rates), initial=0)
    return [crew.look(2.0 * at, done, 0) for at, done in enumerate(sums)][1:]


def test_it_grows_as_long_as_it_pays() -> None:
    assert counts(Crew(start=8, most=20), [100, 140, 190, 240, 240]) == [12, 20, 20, 20, 20]


def test_it_doubles_where_each_connection_brings_so_much() -> None:
    assert counts(Crew(start=8, most=64), [100, 150, 290, 580]) == [12, 24, 48, 64]
    assert counts(Crew(start=8, most=64), [100, 110, 120, 130]) == [12, 16, 20, 24], "hardly more"


def test_on_a_plateau_it_steps_back_and_stays() -> None:
    assert counts(Crew(start=8, most=64), [100, 110, 111, 111, 900]) == [12, 16, 12, 12, 12]


def test_when_the_store_asks_for_mercy_it_halves_and_rests() -> None:
    crew = Crew(start=16, most=64)
    assert crew.look(0.0, 0, 0) == 16
    assert crew.look(0.1, 190, 3) == 16, "who is refused did not ask again yet"
    assert crew.look(0.25, 200, 3) == 8
    assert crew.look(4.0, 400, 3) == 8
    assert crew.look(6.0, 600, 4) == 4
    assert crew.look(8.0, 800, 13) == FEWEST
    assert crew.look(17.0, 1700, 13) == FEWEST
    assert crew.look(19.0, 1900, 13) == 8
    assert crew.look(21.0, 2300, 13) == 12, "it does not double any more"


def test_how_many_there_may_be_soon() -> None:
    crew = Crew(start=8, most=20)
    assert crew.most_soon == 20
    assert counts(crew, [100, 110, 110]) == [12, 16, 12]
    assert crew.most_soon == 12, "more did not pay"
    full = Crew(start=20, most=20)
    assert counts(full, [100, 100, 100]) == [20, 20, 20]
    assert full.most_soon == 20


def test_one_connection_asked_for_is_where_it_begins() -> None:
    crew = Crew(start=1, most=1)
    assert (crew.look(0.0, 0, 0), crew.look(2.0, 2, 5)) == (1, 1)


@given(
    st.integers(1, 64),
    st.integers(1, 64),
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 3)), max_size=30),
)
def test_never_more_than_allowed_and_never_none(
    start: int, most: int, looks: list[tuple[int, int]]
) -> None:
    crew = Crew(start=start, most=most)
    done = refusals = 0
    for at, (count, more) in enumerate(looks):
        done, refusals = done + count, refusals + more
        assert 1 <= crew.look(2.0 * at, done, refusals) <= crew.most_soon <= max(most, 1)


def test_without_a_limit_nobody_rests() -> None:
    assert Bucket(None).debit(10**12, 0.0) == 0.0


@given(st.integers(1000, 10**9), st.lists(st.integers(1, 2**19), min_size=1, max_size=60))
def test_the_rate_holds_over_any_time(rate: int, pieces: list[int]) -> None:
    bucket, now_s = Bucket(rate), 100.0
    for piece in pieces:
        wait_s = bucket.debit(piece, now_s)
        while wait_s > 0:  # a rest is short, so that a new limit is heard soon
            now_s += wait_s
            wait_s = bucket.debit(0, now_s)
    assert sum(pieces) <= rate * (now_s - 100.0 + 0.25) * 1.001 + 1


def test_a_limit_can_be_changed_on_the_way() -> None:
    bucket = Bucket(1000)
    assert bucket.debit(2000, 10.0) > 1.5
    bucket.rate_bytes_s = None
    assert bucket.debit(2000, 10.0) == 0.0


def test_a_read_that_is_far_behind_its_peers() -> None:
    done = [(1.0, 100), (1.2, 100), (0.8, 100)]
    assert laggards({7: (4.1, 100), 8: (3.9, 100), 9: (4.1, 200)}, done) == [7]


def test_quick_peers_do_not_make_a_second_slow() -> None:
    done = [(0.01, 100)] * 5
    assert laggards({1: (1.9, 100), 2: (2.1, 100)}, done) == [2]


def test_without_peers_nobody_is_slow() -> None:
    assert laggards({1: (1e6, 1)}, [(0.1, 1)] * 2) == []


@pytest.mark.parametrize(
    ("wanted", "cores", "count"), [(8, 2, 2), (8, 1, 2), (1, 4, 1), (8, 64, 8)]
)
def test_it_opens_with_what_the_cores_can_do(wanted: int, cores: int, count: int) -> None:
    assert Opening(wanted, cores=cores).count == count


def test_it_opens_wide_as_soon_as_it_waits_for_the_link() -> None:
    opening = Opening(8, cores=2)
    assert not opening.is_too_few(0.0, 5.0), "nothing to compare with yet"
    assert not opening.is_too_few(0.25, 5.4), "busy"
    assert not opening.is_too_few(0.25, 5.4), "no time has passed"
    assert opening.is_too_few(0.5, 5.45), "rests"


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(None, 2**19), (10**9, 2**19), (16_000_000, 2**18), (1_000_000, 2**14), (1, 2**14)],
)
def test_under_a_low_limit_little_is_taken_at_once(rate: int | None, expected: int) -> None:
    assert buffer_bytes(rate, most_bytes=2**19) == expected


@given(rate=st.integers(1, 10**12))
def test_law_a_buffer_is_whole_pages_and_no_larger_than_the_usual(rate: int) -> None:
    size = buffer_bytes(rate, most_bytes=2**19)
    assert 2**14 <= size <= 2**19
    assert size & (size - 1) == 0


@pytest.mark.parametrize(
    ("files", "left_bytes", "count"),
    [(64, 2**30, 8), (201, 201 * 2**19, 32), (201, 201 * 2**13, 50), (3, 0, 50), (0, 0, 8)],
    ids=["ranges", "small files", "no more than allowed", "empty files", "nothing"],
)
def test_small_files_are_asked_for_over_more_connections(
    files: int, left_bytes: int, count: int
) -> None:
    assert at_once(8, most=50, files=files, left_bytes=left_bytes) == count


def test_who_allows_no_more_gets_no_more() -> None:
    assert at_once(4, most=4, files=1000, left_bytes=1000) == 4
