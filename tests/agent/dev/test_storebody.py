"""Which bytes a Range header means, and what is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.dev.s3_answers import S3Problem
from poolhand.agent.dev.storebody import Stats, parse_range


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=2-4", range(2, 5)),
        ("bytes=7-", range(7, 10)),
        ("bytes=7-99999", range(7, 10)),
        ("bytes=-3", range(7, 10)),
        ("bytes=-99", range(10)),
    ],
)
def test_a_range_is_what_it_says(text: str, span: range) -> None:
    assert parse_range(text, 10) == span


@pytest.mark.parametrize("text", [None, "", "bytes=-", "bytes=4-2", "bytes=0-1,3-4", "lines=1-2"])
def test_what_s3_does_not_understand_means_the_whole(text: str | None) -> None:
    assert parse_range(text, 10) is None


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("bytes=10-", 10), ("bytes=11-12", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)],
)
def test_a_range_without_a_byte_is_a_problem(text: str, size_bytes: int) -> None:
    problem = parse_range(text, size_bytes)
    assert isinstance(problem, S3Problem)
    assert problem.status == 416
    assert problem.facts["ActualObjectSize"] == str(size_bytes)


@given(
    first=st.none() | st.integers(0, 30),
    last=st.none() | st.integers(0, 30),
    size_bytes=st.integers(0, 20),
)
def test_no_range_leaves_the_object(first: int | None, last: int | None, size_bytes: int) -> None:
    text = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    span = parse_range(text, size_bytes)
    if isinstance(span, range):
        assert 0 <= span.start < span.stop <= size_bytes
        if first is not None:
            stop = size_bytes if last is None else min(size_bytes, last + 1)
            assert span == range(first, stop)
        else:
            assert len(span) == min(last or 0, size_bytes)


def test_counts_add_up() -> None:
    stats = Stats()
    stats.count_request("get", 206)
    stats.count_request("list", 200)
    stats.count_range("b/k", "bytes=0-1", 206)
    stats.count_bytes("b/k", 2)
    stats.count_bytes("b/k", 3)
    assert stats.document() == {
        "requests": 2,
        "operations": {"get": 1, "list": 1},
        "statuses": {"206": 1, "200": 1},
        "bytes_sent": {"b/k": 5},
        "ranges": [{"key": "b/k", "range": "bytes=0-1", "status": 206}],
    }
