"""How hot a Linux machine is, by the kernel's own thermal zones.

Source:
    Documentation/ABI/testing/sysfs-class-thermal: ``temp`` and ``trip_point_N_temp`` in
    thousandths of a degree, ``trip_point_N_type`` one of ``active``, ``passive``, ``hot`` and
    ``critical``. At a passive point the kernel slows the machine down; at a hot or critical one
    it is about to turn it off.
"""

from collections.abc import Iterator
from pathlib import Path

from .base import ThermalState, hottest

NEAR_MDEG = 5000
"""So close below the point at which the machine is slowed down, it is warm."""

MOST_DIGITS = 12
"""No temperature has more."""


def thermal_state(root: Path) -> ThermalState | None:
    """The worst of all zones; ``None`` if none says both its heat and a point that matters.

    Args:
        root: Where ``/sys`` is found.
    """
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    return hottest(_of_zone(zone) for zone in zones)


def _of_zone(zone: Path) -> ThermalState | None:
    temp = _number(zone / "temp")
    trips = [*_trips(zone)]
    ends = [at for kind, at in trips if kind in {"hot", "critical"}]
    slows = [at for kind, at in trips if kind == "passive"]
    if temp is None or not (ends or slows):
        return None
    if ends and temp >= min(ends):
        return "critical"
    if slows and temp >= min(slows):
        return "serious"
    return "fair" if slows and temp >= min(slows) - NEAR_MDEG else "nominal"


def _trips(zone: Path) -> Iterator[tuple[str, int]]:
    """Points that are set; firmware writes 0 or less where it means none."""
    for kind in zone.glob("trip_point_*_type"):
        at = _number(kind.with_name(kind.name.replace("_type", "_temp")))
        if at is not None and at > 0:
            yield _word(kind), at


def _number(path: Path) -> int | None:
    text = _word(path)
    digits = text.removeprefix("-")
    return (
        int(text) if digits.isascii() and digits.isdigit() and len(digits) < MOST_DIGITS else None
    )


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # a zone may be asleep, and says EAGAIN
        return ""
