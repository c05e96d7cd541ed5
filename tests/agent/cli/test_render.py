"""JSON as lines: units move from names to values, and what is missing stays missing."""

import pytest

from poolhand.agent.cli.render import GIB, fact, items, plain, section, size, span, table


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("free_bytes", 3 * GIB, "free 3.0 GiB"),
        ("free_bytes", 2**20 * 1.5, "free 1.5 MiB"),
        ("free_bytes", 12, "free 12 B"),
        ("free_bytes", -1, "free ?"),
        ("free_bytes", None, "free bytes -"),
        ("free_bytes", True, "free bytes yes"),
        ("uptime_s", 119.6, "uptime 120 s"),
        ("uptime_s", 120, "uptime 2 min"),
        ("uptime_s", 7200, "uptime 2 h"),
        ("uptime_s", 172800, "uptime 2 d"),
        ("progress_ratio", 0.456, "progress 46 %"),
        ("max_model_slots", 1, "max model slots 1"),
        ("last_error", "a\nb\x1b", "last error a?b?"),
        ("load", 0.1 + 0.2, "load 0.3"),
    ],
)
def test_a_fact(name: str, value: object, expected: str) -> None:
    assert fact(name, value) == expected


def test_a_number_that_is_no_measurement() -> None:
    assert size(float("nan")) == "?"
    assert size(2.0**70) == "?"
    assert fact("a_s", 10**100) == f"a s {10**100}"
    assert span(0) == "0 s"


def test_a_section_is_facts_and_below_them_rows() -> None:
    value = {
        "max": 2,
        "none": None,
        "names": ["a", "b"],
        "stays": [{"model": "m", "state": "ready"}],
    }
    assert list(section("slots", value)) == ["slots:    max 2, names a, b", "  m, ready"]


def test_a_section_may_be_a_list_a_scalar_or_nothing() -> None:
    assert list(section("slots", [{"model": "m", "state": "loading"}])) == [
        "slots:",
        "  m, loading",
    ]
    assert list(section("pool", "tiny")) == ["pool:     tiny"]
    assert list(section("cache", {})) == ["cache:    -"]
    assert list(section("cache", None)) == ["cache:    -"]


def test_what_is_no_table_or_list_is_an_empty_one() -> None:
    assert table([1]) == {}
    assert table({"a": 1}) == {"a": 1}
    assert items({"a": 1}) == []
    assert items([1]) == [1]
    assert [plain(one) for one in (None, False, 1.50, "\u202eevil")] == ["-", "no", "1.5", "?evil"]
