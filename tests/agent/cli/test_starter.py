"""A first file: what it suggests for a machine, and that it always holds."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhand.agent.cli.starter import EXAMPLE_URL, GIB, Place, reserve_gib, starter
from poolhand.backends.hosts.base import GpuFacts, HostFacts
from poolhand.config.load import load
from poolhand.config.paths import SCHEMA_FILE

MAC = HostFacts("apple", chip_name="Apple M4 Max", memory_total_bytes=64 * GIB)
BOARDS = HostFacts(
    "nvidia",
    chip_name="NVIDIA H200",
    memory_total_bytes=282 * GIB,
    gpus=(GpuFacts(0, "NVIDIA H200"), GpuFacts(1, "NVIDIA H200")),
)
UNKNOWN = HostFacts("generic")


@pytest.mark.parametrize(
    ("facts", "expected_gib"),
    [
        (MAC, 8.0),
        (BOARDS, 0.5),
        (UNKNOWN, 0.5),
        (HostFacts("apple", memory_total_bytes=8 * GIB), 2.0),
        (HostFacts("generic", memory_total_bytes=36 * GIB), 4.5),
    ],
)
def test_memory_that_people_share_is_kept_for_them(facts: HostFacts, expected_gib: float) -> None:
    assert reserve_gib(facts) == expected_gib


def test_a_mac() -> None:
    text = starter(Place("wss://c.test", MAC, 500 * GIB))
    lines = text.splitlines()
    assert lines[0] == f"#:schema ./{SCHEMA_FILE.name}"
    assert lines[1].endswith("Apple M4 Max, 64 GiB of memory for models.")
    assert "take 56 GiB together" in text
    assert "# quota_gib = 250 " in text
    assert "step aside while somebody is at this Mac" in text
    assert tomllib.loads(text) == {
        "coordinator": {"url": "wss://c.test"},
        "pools": {},
        "slots": {"max_model_slots": 1},
        "memory": {"reserve_gib": 8.0},
        "cache": {},
    }


def test_boards_and_a_machine_that_tells_nothing() -> None:
    text = starter(Place("", BOARDS))
    assert "282 GiB of memory for models, 2 boards." in text
    assert "[owner]" not in text
    assert "quota_gib" not in text, "the disk could not be read"
    text = starter(Place("", UNKNOWN))
    assert tomllib.loads(text)["coordinator"] == {"url": EXAMPLE_URL}
    assert "made for this machine: a generic machine." in text
    assert "together" not in text, "nothing is said of what was not measured"


facts = st.builds(
    HostFacts,
    st.sampled_from(["apple", "nvidia", "generic"]),
    chip_name=st.none() | st.sampled_from(["Apple M1", "NVIDIA L4", "x"]),
    memory_total_bytes=st.none() | st.integers(0, 2**44),
)


@given(facts, st.none() | st.integers(0, 2**50))
@settings(max_examples=40, deadline=None)
def test_law_what_is_written_holds(machine: HostFacts, free_bytes: int | None) -> None:
    text = starter(Place("wss://c.test", machine, free_bytes))
    path = Path("/nowhere/agent.toml")
    chosen = load(path, {}, {path: text.encode()}).settings
    assert chosen.memory.reserve_gib == reserve_gib(machine)
    assert all(len(line) <= 100 for line in text.splitlines())
