"""How hot a Linux machine is, by thermal zones in a folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.hosts.activity_linux import LinuxActivity
from poolhand.backends.hosts.base import THERMAL_STATES, Activity
from poolhand.backends.hosts.heat_linux import thermal_state


def zone(root: Path, temp: object, *trips: tuple[str, object], number: int = 0) -> Path:
    folder = root / f"sys/class/thermal/thermal_zone{number}"
    folder.mkdir(parents=True)
    (folder / "temp").write_text(f"{temp}\n")
    for at, (kind, degrees) in enumerate(trips):
        (folder / f"trip_point_{at}_type").write_text(f"{kind}\n")
        (folder / f"trip_point_{at}_temp").write_text(f"{degrees}\n")
    return folder


LAPTOP = (("passive", 95_000), ("critical", 105_000), ("active", 50_000))


@pytest.mark.parametrize(
    ("temp", "state"),
    [
        (40_000, "nominal"),
        (89_999, "nominal"),
        (90_000, "fair"),
        (95_000, "serious"),
        (105_000, "critical"),
    ],
)
def test_from_cool_to_too_hot(tmp_path: Path, temp: int, state: str) -> None:
    zone(tmp_path, temp, *LAPTOP)
    assert thermal_state(tmp_path) == state
    assert LinuxActivity({"heat"}, root=tmp_path).read() == Activity(thermal_state=state)  # type: ignore[arg-type]  # one of the words
    assert LinuxActivity({"battery"}, root=tmp_path).read().thermal_state is None, "nobody asked"


def test_the_hottest_zone_counts_and_those_that_say_nothing_do_not(tmp_path: Path) -> None:
    assert thermal_state(tmp_path) is None
    zone(tmp_path, "n/a", *LAPTOP, number=1)
    zone(tmp_path, 120_000, ("active", 50_000), number=2)
    zone(tmp_path, 120_000, ("passive", 0), ("critical", -274_000), number=3)
    assert thermal_state(tmp_path) is None
    zone(tmp_path, 20_000, ("hot", 90_000), number=4)
    assert thermal_state(tmp_path) == "nominal"
    zone(tmp_path, 96_000, *LAPTOP, number=5)
    assert thermal_state(tmp_path) == "serious"


@given(temp=st.one_of(st.integers(), st.text(max_size=8)), at=st.one_of(st.integers(), st.text()))
def test_whatever_stands_there_is_read_or_left(
    tmp_path_factory: pytest.TempPathFactory, temp: object, at: object
) -> None:
    root = tmp_path_factory.mktemp("sys")
    folder = zone(root, "1")
    (folder / "temp").write_text(str(temp), errors="replace")
    (folder / "trip_point_0_type").write_text("passive")
    (folder / "trip_point_0_temp").write_text(str(at), errors="replace")
    assert thermal_state(root) in {None, *THERMAL_STATES}
