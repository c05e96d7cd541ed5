"""A window that ends while an answer runs, and begins again: a real agent, by a clock of its own.

The agent's time zones are made for the test: the clock on its wall skips, as if for summer, beyond
the end of one window, and then to the beginning of the next.
"""

import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from world import A, World, begun

from poolhand.agent.dev.checkpoint import expected_text
from poolhand.agent.dev.stage import at

pytestmark = pytest.mark.e2e

HOURS = """
[hours]
windows = ["12:00-13:00", "14:00-20:00"]
timezone = "{name}"
drain_before_s = 0.5
wake_before_s = 3.0
"""
RESTING = "provider draining: resting"


def make_zone(folder: Path, name: str, *, turns_s: int, shows: tuple[int, int]) -> None:
    """A clock that shows one full hour and a half at first, and another from a moment on.

    Args:
        folder: Where zones are looked for.
        name: The zone's.
        turns_s: When it skips, in seconds since 1970.
        shows: Minutes after midnight, just before it skips and just after.

    Source: RFC 9636, version 2: a header and no data, then a header, moments, types, names.
    """
    at_s = datetime.fromtimestamp(turns_s, UTC)
    told_s = at_s.hour * 3600 + at_s.minute * 60 + at_s.second
    offsets = [minutes * 60 - told_s for minutes in shows]
    offsets = [offset - 86400 if min(offsets) > 0 else offset for offset in offsets]

    def header(moments: int, types: int) -> bytes:
        counts = (0, 0, 0, moments, types, 4)
        return b"TZif2" + bytes(15) + b"".join(count.to_bytes(4, "big") for count in counts)

    types = b"".join(offset.to_bytes(4, "big", signed=True) + bytes(2) for offset in offsets)
    data = header(0, 1) + bytes(6) + b"LMT\0"
    data += header(1, 2) + turns_s.to_bytes(8, "big", signed=True) + bytes([1]) + types
    (folder / name).write_bytes(data + b"LMT\0" + b"\n\n")


class Wall:
    """The clock on the agent's wall, and the hours that it keeps by it."""

    def __init__(self, world: World, zones: Path) -> None:
        zones.mkdir()
        self._world, self._zones = world, zones
        self._path = world.configure()
        self._text = self._path.read_text()
        world.join(self._path, PYTHONTZPATH=str(zones))

    def skip(self, name: str, *, in_s: int, shows: tuple[int, int]) -> float:
        """Have the clock skip soon; when it will, in seconds since 1970."""
        turns_s = int(time.time()) + in_s
        make_zone(self._zones, name, turns_s=turns_s, shows=shows)
        self._path.write_text(self._text + HOURS.format(name=name))
        self._world.agent.process.send_signal(signal.SIGHUP)
        return turns_s


def test_a_window_ends_during_an_answer_and_the_next_one_finds_the_model_in_memory(
    world: World, tmp_path: Path
) -> None:
    wall = Wall(world, tmp_path / "zones")
    assert world.load(A)["status"] == "succeeded"
    stream = world.stream("[loop]", most=3500)
    begun(stream)
    wall.skip("Ends", in_s=1, shows=(12 * 60 + 30, 13 * 60 + 30))

    def rests() -> bool:
        told = world.agent.status()
        return at(told, "why_not", 0, "code") == "outside_hours"

    world.heard(rests, "it rests, and says why", 20)
    assert at(world.stay(A), "state") == "draining", "what runs goes on"
    refused = world.load(A)
    assert [refused[key] for key in ("status", "error", "class")] == ["failed", RESTING, "draining"]
    begun(stream, 20)
    assert len(world.engines()) == 1, "as long as it likes"
    stream.close()
    world.heard(lambda: at(world.agent.status(), "slots") == [], "the memory is given back", 20)
    assert world.engines() == []
    assert at(world.agent.status(), "rest", "asleep") == [A]
    world.heard(
        lambda: at(world.provider(), "heartbeat", "backend_capacity", "slots") == [],
        "the coordinator knows",
    )
    assert at(world.provider(), "heartbeat", "backend_capacity", "free_for_load_gb") == 0

    begins_s = wall.skip("Begins", in_s=5, shows=(13 * 60 + 30, 14 * 60))
    world.heard(lambda: at(world.agent.status(), "serving") is True, "the next window", 25)
    assert time.time() >= begins_s, "not a second early"
    loads = [line["what"] for line in world.log() if line["what"] in {"LoadEngine", "StopEngine"}]
    assert loads == ["LoadEngine", "StopEngine", "LoadEngine"], "back without being asked"
    assert world.answer() == expected_text("alpha")
