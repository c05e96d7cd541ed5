"""Dates of headers."""

import time

import pytest

from poolhand.config.dates import http_date_s


@pytest.mark.parametrize(
    ("text", "found_s"),
    [
        ("Thu, 01 Jan 1970 00:01:00 GMT", 60.0),
        ("Thu, 01 Jan 1970 01:01:00 +0100", 60.0),
        ("Thu, 01 Jan 1970 00:01:00 -0000", 60.0),
        ("soon", None),
        ("Thu, 99 Jan 1970 00:01:00 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_a_date_or_none(
    monkeypatch: pytest.MonkeyPatch, text: str | None, found_s: float | None
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert http_date_s(text) == found_s
    finally:
        monkeypatch.undo()
        time.tzset()
