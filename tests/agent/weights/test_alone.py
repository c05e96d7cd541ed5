"""What a copy brings and what it is held to."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.agent.weights.alone import OWN_NAMES, check_names, hold, read_checksums
from poolhand.agent.weights.lines import Alone, FetchJob
from poolhand.backends.stores.base import RemoteFile
from poolhand.backends.stores.errors import WeightsCorrupt, WeightsUnsafe
from poolhand.config.refs import ModelRef
from poolhand.config.settings import Stores, Weights


def listing(*names: str) -> dict[str, RemoteFile]:
    return {name: RemoteFile(name, 1, None, name) for name in names}


@pytest.mark.parametrize(
    ("alone", "expected"),
    [
        (None, False),
        (Alone(), False),
        (Alone(checksums="x"), True),
        (Alone(checksums="x", is_verified=False), False),
    ],
)
def test_who_is_held(alone: Alone | None, *, expected: bool) -> None:
    ref = ModelRef.parse("s3://bucket/a")
    assert FetchJob("m", ref, Stores(), Weights(), "", alone).is_held == expected


@pytest.mark.parametrize(
    "name", [*sorted(OWN_NAMES), ".PARTIAL/x", "../a", "/a", "a//b", "a\\b", "a\nb", "x/.."]
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(WeightsUnsafe):
        check_names(["ok", name], model="m")


def test_names_that_meet() -> None:
    for one, other in (("A", "a"), ("a", "a/b"), ("É", "é")):
        with pytest.raises(WeightsUnsafe):
            check_names([one, other], model="m")
    check_names([".gitattributes", "sub/.partial", "a/b", "a/c"], model="m")


def test_a_list_and_a_listing_that_agree() -> None:
    hold(listing("a", "SUMS"), {"a": "0"}, model="m", list_name="SUMS")
    hold(listing("a", "README.md"), {"a": "0"}, model="m", list_name=None)


def test_a_list_and_a_listing_that_do_not() -> None:
    with pytest.raises(WeightsCorrupt, match="b is damaged: not in the store"):
        hold(listing("a"), {"a": "0", "b": "0"}, model="m", list_name="SUMS")
    with pytest.raises(WeightsCorrupt, match="b is damaged: no line"):
        hold(listing("a", "b"), {"a": "0"}, model="m", list_name="SUMS")


NAMES = st.sets(st.sampled_from(["a", "b", "c", "SUMS"]))


@given(listed=NAMES, promised=NAMES, is_list=st.booleans())
def test_laws(*, listed: set[str], promised: set[str], is_list: bool) -> None:
    is_covered = listed - {"SUMS"} <= promised or not is_list
    is_good = promised <= listed and is_covered
    try:
        hold(
            listing(*listed),
            dict.fromkeys(promised, "0"),
            model="m",
            list_name="SUMS" if is_list else None,
        )
    except WeightsCorrupt:
        assert not is_good
    else:
        assert is_good


def test_a_list_on_the_disk(tmp_path: Path) -> None:
    _ = (tmp_path / "SUMS").write_text(f"{'A' * 64}  x\n")
    assert read_checksums(tmp_path / "SUMS", model="m") == {"x": "a" * 64}
    with pytest.raises(WeightsCorrupt, match="No such file"):
        _ = read_checksums(tmp_path / "none", model="m")
    _ = (tmp_path / "SUMS").write_bytes(b"\xff")
    with pytest.raises(WeightsCorrupt, match="UTF-8"):
        _ = read_checksums(tmp_path / "SUMS", model="m")
