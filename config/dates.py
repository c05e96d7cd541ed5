"""Dates as HTTP says them; imported where one is asked for, for most answers are not."""

from datetime import UTC
from email.utils import parsedate_to_datetime


def http_date_s(text: str | None) -> float | None:
    """Seconds since the epoch; ``None`` for what is no date.

    Args:
        text: Of a header; who names no zone means UTC.

    Source:
        RFC 9110, 5.6.7.
    """
    if text is None:
        return None
    try:
        at = parsedate_to_datetime(text)
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
