"""Version tags: forms that mean the same, and those that do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.stores.etags import is_fit, is_other, quoted, told

opaque = st.text("0123456789abcdef-", min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("listed", "answered", "expected"),
    [
        ('"a"', '"a"', False),
        ('"a"', "a", False),
        ("a", 'W/"a"', False),
        ('"a"', None, False),
        (None, '"b"', False),
        ('"a"', '"b"', True),
        ('"a"', 'W/"b"', True),
        ('"a"', "", True),
    ],
)
def test_whether_it_is_another_version(
    listed: str | None,
    answered: str | None,
    expected: bool,  # noqa: FBT001  # a table's column
) -> None:
    assert is_other(listed, answered) is expected


@pytest.mark.parametrize("tag", ['"a\r\nX-Evil: 1"', '"a\0"', '"中"', '"\xe9"', "x" * 1025])
def test_a_tag_that_no_header_takes(tag: str) -> None:
    assert not is_fit(tag)


@given(tag=opaque)
def test_law_usual_tags_are_fit(tag: str) -> None:
    assert is_fit(quoted(tag))


@given(tag=opaque, other=opaque)
def test_law_the_form_never_matters_and_the_tag_always_does(tag: str, other: str) -> None:
    forms = (tag, f'"{tag}"', f'W/"{tag}"')
    for one in forms:
        assert quoted(quoted(one)) == quoted(one), "quoting is done once"
        assert quoted(one).endswith(f'"{tag}"')
        for two in forms:
            assert not is_other(one, two)
        assert is_other(one, other) is (tag != other)


MIB = 2**20
HEX = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("tag", "size_bytes", "expected"),
    [
        (f'"{HEX}"', 5, f"etag:{HEX}"),
        (f'"{HEX}-1"', 0, None),
        (f'"{HEX}-1"', 5, f"parts{8 * MIB}:{HEX}-1"),
        (f'"{HEX}-2"', 8 * MIB + 1, f"parts{8 * MIB}:{HEX}-2"),
        (f'"{HEX}-2"', 8 * MIB, f"parts{5 * MIB}:{HEX}-2"),
        (f'"{HEX}-20"', 1000 * MIB, f"parts{50 * MIB}:{HEX}-20"),
        (f'"{HEX}-3"', 10 * 2**30, None),
        (f'"{HEX}-0"', 5, None),
        (f'W/"{HEX}"', 5, None),
        (f'"{HEX.upper()}"', 5, None),
        ('"5e8-1234"', 5, None),
        (HEX, 5, None),
    ],
)
def test_what_a_tag_may_tell(tag: str, size_bytes: int, expected: str | None) -> None:
    assert told(tag, size_bytes=size_bytes) == expected
