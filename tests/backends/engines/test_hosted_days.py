"""What a model elsewhere may cost a day, and that a restart forgets nothing of it."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.backends.engines.base import Usage
from poolhand.backends.engines.hosted_days import Day, Days, path_of
from poolhand.backends.engines.hosted_errors import DailyLimitReached
from poolhand.config.external import External
from poolhand.config.paths import StateUnusable

DAY_S = 86400.0
MAY_2 = 1777680000.0
"""2026-05-02, midnight UTC."""


def days(path: Path, *, clock_s: Callable[[], float] = lambda: MAY_2, **limits: int) -> Days:
    external = External.model_validate({"dialect": "openai", **limits})
    made = Days(path, model="org/m", external=external, clock_s=clock_s)
    made.recall()
    return made


def test_requests_are_counted_before_they_are_sent(tmp_path: Path) -> None:
    path = path_of(tmp_path, "org/m")
    first = days(path, requests_per_day=2)
    first.begin(10)
    assert json.loads(path.read_text()) == {
        "model": "org/m", "date": "2026-05-02", "requests": 1, "tokens": 0
    }  # fmt: skip
    assert path.stat().st_mode & 0o777 == 0o600
    again = days(path, requests_per_day=2)
    again.begin(10)
    assert again.exhausted() == "daily limit of 2 requests reached"
    with pytest.raises(DailyLimitReached):
        again.begin(10)
    with pytest.raises(DailyLimitReached):
        days(path, requests_per_day=2).begin(10)


def test_tokens_are_counted_and_promised(tmp_path: Path) -> None:
    counts = days(tmp_path / "s" / "x", tokens_per_day=100)
    counts.begin(60)
    counts.begin(60)
    with pytest.raises(DailyLimitReached, match="100 tokens"):
        counts.begin(1)
    counts.end(60, Usage(10, 5))
    counts.begin(60)
    counts.end(60, None)
    counts.end(60, Usage(80, 10))
    assert counts.day.tokens == 105
    assert counts.exhausted() == "daily limit of 100 tokens reached"


def test_a_new_day_begins_at_midnight_utc_and_none_comes_twice(tmp_path: Path) -> None:
    now = [MAY_2 + DAY_S - 1]
    counts = days(tmp_path / "s" / "x", clock_s=lambda: now[0], requests_per_day=1)
    counts.begin(1)
    now[0] -= DAY_S
    assert counts.exhausted(), "a clock that was set back gives no second day"
    now[0] += DAY_S + 1
    assert counts.exhausted() is None
    counts.begin(1)
    assert counts.day == Day("org/m", "2026-05-03", 1)


def test_without_a_limit_there_is_no_file(tmp_path: Path) -> None:
    counts = days(tmp_path / "s" / "x")
    counts.begin(10)
    counts.end(10, Usage(1, 2))
    assert counts.exhausted() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": "m"}', '{"date": 1, "model": "m"}'])
def test_a_damaged_file_lifts_no_limit(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(StateUnusable, match="used up"):
        days(path, requests_per_day=9)
    days(path)  # nobody asks for a limit


def test_what_cannot_be_written_down_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("no folder")
    external = External(dialect="openai", requests_per_day=9)
    counts = Days(tmp_path / "s" / "x", model="m", external=external, clock_s=lambda: MAY_2)
    with pytest.raises(StateUnusable):
        counts.begin(1)


def test_each_model_has_a_file_of_its_own(tmp_path: Path) -> None:
    paths = {path_of(tmp_path, name) for name in ("a", "b", "../../a", "a/b")}
    assert len(paths) == 4
    assert {path.parent for path in paths} == {tmp_path / "external"}


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50), st.integers(0, 50)), max_size=20),
    st.integers(1, 200),
)
def test_law_no_request_begins_beyond_the_limit(
    answers: list[tuple[int, int, int]], most: int
) -> None:
    with TemporaryDirectory() as folder:
        made = days(path_of(Path(folder), "m"), tokens_per_day=most)
        for promised, prompt, answer in answers:
            used = made.day.tokens
            try:
                made.begin(promised)
            except DailyLimitReached:
                assert used >= most
                continue
            assert used < most
            made.end(promised, Usage(prompt, answer))
            assert made.day.tokens == used + prompt + answer
