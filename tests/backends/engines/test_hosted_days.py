"""What a model elsewhere may cost a day, and that a restart forgets nothing of it."""

import asyncio
import json
import os
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


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_requests_are_counted_before_they_are_sent(tmp_path: Path) -> None:
    path = path_of(tmp_path, "org/m")
    first = days(path, requests_per_day=2)
    await first.begin(10)
    assert json.loads(path.read_text()) == {
        "model": "org/m", "date": "2026-05-02", "requests": 1, "tokens": 10
    }  # fmt: skip
    assert path.stat().st_mode & 0o777 == 0o600
    again = days(path, requests_per_day=2)
    await again.begin(10)
    assert again.exhausted() == "daily limit of 2 requests reached"
    with pytest.raises(DailyLimitReached):
        await again.begin(10)
    with pytest.raises(DailyLimitReached):
        await days(path, requests_per_day=2).begin(10)


async def test_tokens_are_counted_and_promised(tmp_path: Path) -> None:
    counts = days(tmp_path / "s" / "x", tokens_per_day=100)
    await counts.begin(60)
    await counts.begin(60)
    with pytest.raises(DailyLimitReached, match="100 tokens"):
        await counts.begin(1)
    counts.end(60, Usage(10, 5))
    await counts.begin(60)
    counts.end(60, None)
    counts.end(60, Usage(80, 10))
    assert counts.day.tokens == 105
    assert counts.exhausted() == "daily limit of 100 tokens reached"


async def test_a_new_day_begins_at_midnight_utc_and_none_comes_twice(tmp_path: Path) -> None:
    now = [MAY_2 + DAY_S - 1]
    counts = days(tmp_path / "s" / "x", clock_s=lambda: now[0], requests_per_day=1)
    await counts.begin(1)
    now[0] -= DAY_S
    assert counts.exhausted(), "a clock that was set back gives no second day"
    now[0] += DAY_S + 1
    assert counts.exhausted() is None
    await counts.begin(1)
    assert counts.day == Day("org/m", "2026-05-03", 1)


async def test_without_a_limit_there_is_no_file(tmp_path: Path) -> None:
    counts = days(tmp_path / "s" / "x")
    await counts.begin(10)
    counts.end(10, Usage(1, 2))
    assert counts.exhausted() is None
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": "m"}', '{"date": 1, "model": "m"}'])
def test_a_damaged_file_lifts_no_limit(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(StateUnusable, match="used up"):
        days(path, requests_per_day=9)
    days(path)  # nobody asks for a limit


async def test_what_cannot_be_written_down_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("no folder")
    external = External(dialect="openai", requests_per_day=9)
    counts = Days(tmp_path / "s" / "x", model="m", external=external, clock_s=lambda: MAY_2)
    with pytest.raises(StateUnusable):
        await counts.begin(1)


def test_each_model_has_a_file_of_its_own(tmp_path: Path) -> None:
    paths = {path_of(tmp_path, name) for name in ("a", "b", "../../a", "a/b")}
    assert len(paths) == 4
    assert {path.parent for path in paths} == {tmp_path / "external"}


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50), st.integers(0, 50)), max_size=20),
    st.integers(1, 200),
)
async def test_law_no_request_begins_beyond_the_limit(
    answers: list[tuple[int, int, int]], most: int
) -> None:
    with TemporaryDirectory() as folder:
        made = days(path_of(Path(folder), "m"), tokens_per_day=most)
        for promised, prompt, answer in answers:
            used = made.day.tokens
            try:
                await made.begin(promised)
            except DailyLimitReached:
                assert used >= most
                continue
            assert used < most
            made.end(promised, Usage(prompt, answer))
            assert made.day.tokens == used + prompt + answer
        await made.settled()
        assert days(path_of(Path(folder), "m"), tokens_per_day=most).day == made.day


async def test_a_killed_process_leaves_no_token_uncounted(tmp_path: Path) -> None:
    path = tmp_path / "s" / "x"
    counts = days(path, tokens_per_day=1000)
    await counts.begin(300)
    await counts.begin(400)
    assert days(path, tokens_per_day=1000).day == Day("org/m", "2026-05-02", 2, 700)
    counts.end(400, Usage(10, 20))
    await counts.settled()
    assert days(path, tokens_per_day=1000).day.tokens == 330
    counts.end(300, None)
    await counts.settled()
    assert days(path, tokens_per_day=1000).day.tokens == 30


async def test_a_slow_disk_holds_nobody_else_up(tmp_path: Path) -> None:
    """Whoever opens a pipe waits until somebody else does, too."""
    os.mkfifo(tmp_path / "x.new")
    counts = days(tmp_path / "x", requests_per_day=9, tokens_per_day=10)
    first = asyncio.create_task(counts.begin(9))
    second = asyncio.create_task(counts.begin(9))
    for _ in range(9):
        await asyncio.sleep(0)
    assert not first.done(), "it is not sent before it is counted"
    assert second.done() is False
    _ = second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    end = os.open(tmp_path / "x.new", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(StateUnusable):  # a pipe cannot be synced
        await first
    await counts.settled()
    (tmp_path / "x.new").unlink()
    os.close(end)
    await counts.begin(9)
    assert counts.exhausted() is None, "neither keeps room aside any more"
