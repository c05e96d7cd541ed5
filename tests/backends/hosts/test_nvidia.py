"""NVIDIA's probe: the real nvidia-ml-py, reading a compiled stand-in for the driver's library."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.hosts.base import (
    THERMAL_STATES,
    GpuSample,
    HostProbe,
)
from poolhand.backends.hosts.generic import GenericProbe
from poolhand.backends.hosts.nvidia import bandwidth_gbs, thermal_state

H100 = """
0 name NVIDIA H100 80GB HBM3
0 memory_v2 85520809984 571473920 80000000000
0 memory 85520809984 80000000000
0 capability 9.0
0 cores 16896
0 bus_bits 5120
0 memory_mhz 2619
0 busy_percent 37
0 celsius 41
0 slowdown_celsius 92
0 reasons 0x1
"""
L4 = """
1 name NVIDIA L4
1 memory_v2 24152899584 300000000 20000000000
1 memory 24152899584 20000000000
1 capability 8.9
1 cores 7424
1 bus_bits 192
1 memory_mhz 6251
1 busy_percent 0
1 celsius 88
1 slowdown_celsius 92
1 reasons 0x24
"""
GB10 = """
- count 1
0 name NVIDIA GB10
0 capability 12.1
0 cores 6144
0 busy_percent 3
0 celsius 50
0 reasons 0x0
"""
ONE = "- count 1\n" + H100
TWO = "- count 2\n" + H100 + L4
H100_USABLE_BYTES = 85520809984 - 571473920


class Host(HostProbe, Protocol):
    """What the fixture starts."""

    answers: Path

    def kind(self) -> str: ...


Start = Callable[[str], Host]


def test_an_h100_is_read_whole(start: Start) -> None:
    host = start(ONE)
    facts, sample = host.facts(), host.sample()
    assert host.kind() == "NvidiaProbe"
    assert (facts.kind, facts.chip_name, facts.chip_family) == (
        "nvidia",
        "NVIDIA H100 80GB HBM3",
        "hopper",
    )
    assert facts.memory_total_bytes == H100_USABLE_BYTES
    assert (facts.gpu_cores, facts.chip_tier, facts.sip_enabled) == (16896, None, None)
    assert facts.rdma_disabled is GenericProbe().facts().rdma_disabled, (
        "the machine's, not the board's"
    )
    assert facts.memory_bandwidth_gbs == pytest.approx(3350, rel=0.01), "the data sheet's figure"
    assert sample.memory_total_bytes == H100_USABLE_BYTES
    assert sample.memory_available_bytes == 80000000000
    assert sample.thermal_state == "nominal"
    assert sample.gpus == (
        GpuSample(
            index=0,
            memory_total_bytes=H100_USABLE_BYTES,
            memory_available_bytes=80000000000,
            usage_ratio=0.37,
            temperature_c=41,
            thermal_state="nominal",
        ),
    )


def test_a_unified_board_lives_in_the_machines_memory(start: Start) -> None:
    host = start(GB10)
    facts, sample, machine = host.facts(), host.sample(), GenericProbe()
    assert (facts.kind, facts.chip_family) == ("nvidia", "blackwell")
    assert facts.memory_total_bytes == machine.facts().memory_total_bytes
    assert facts.gpus[0].memory_total_bytes is None
    assert facts.memory_bandwidth_gbs is None
    assert sample.memory_total_bytes == facts.memory_total_bytes
    assert sample.memory_available_bytes
    assert sample.gpus[0].memory_available_bytes is None


def test_a_lost_unified_board_does_not_offer_the_machines_memory(start: Start) -> None:
    host = start(GB10)
    assert host.facts().memory_total_bytes
    host.answers.write_text(GB10 + "0 all !15\n")
    assert host.sample().memory_total_bytes is None
    assert host.sample().memory_available_bytes is None


def test_two_boards_add_up(start: Start) -> None:
    host = start(TWO)
    facts, sample = host.facts(), host.sample()
    assert facts.memory_total_bytes == H100_USABLE_BYTES + 24152899584 - 300000000
    assert facts.gpu_cores == 16896 + 7424
    assert facts.chip_family == "unknown", "two families are none"
    assert facts.memory_bandwidth_gbs == pytest.approx(300, rel=0.01), "the slower board's"
    assert sample.memory_available_bytes == 100000000000
    assert sample.thermal_state == "serious", "the hotter board's"


def test_a_board_that_is_lost_is_not_counted_and_comes_back(start: Start) -> None:
    host = start(TWO)
    facts = host.facts()
    host.answers.write_text(TWO + "1 all !15\n")
    sample = host.sample()
    assert sample.memory_total_bytes == H100_USABLE_BYTES
    assert sample.memory_available_bytes == 80000000000
    assert sample.gpus[1] == GpuSample(index=1)
    assert host.facts() == facts
    host.answers.write_text(TWO)
    assert host.sample().memory_available_bytes == 100000000000


def test_a_host_that_lost_all_its_boards_has_no_memory(start: Start) -> None:
    host = start(ONE)
    assert host.facts().memory_total_bytes == H100_USABLE_BYTES
    host.answers.write_text(ONE + "0 all !15\n")
    sample = host.sample()
    assert (sample.memory_total_bytes, sample.memory_used_ratio) == (None, None)
    assert sample.gpus == (GpuSample(index=0),)


def test_a_board_we_may_not_open_is_not_ours(start: Start) -> None:
    facts = start(TWO + "0 handle !4\n").facts()
    assert [gpu.index for gpu in facts.gpus] == [1]
    assert facts.chip_name == "NVIDIA L4"


@pytest.mark.parametrize("trouble", ["0 handle !4", "- init !9", "- init !4", "- count !999"])
def test_without_a_board_to_open_the_machine_itself_serves(start: Start, trouble: str) -> None:
    # the first line that matches is the one that counts
    host = start(f"{trouble}\n{ONE}")
    assert host.kind() == "GenericProbe"
    assert host.facts().kind == "generic"


def test_a_question_that_is_not_supported_leaves_its_field_empty(start: Start) -> None:
    host = start("- count 1\n0 name NVIDIA T4\n0 memory 16106127360 15000000000\n")
    facts, sample = host.facts(), host.sample()
    assert facts.memory_total_bytes == 16106127360, "the old structure's total"
    assert (facts.gpu_cores, facts.memory_bandwidth_gbs) == (None, None)
    assert facts.chip_family == "unknown"
    assert (sample.gpus[0].usage_ratio, sample.gpus[0].temperature_c) == (None, None)
    assert sample.thermal_state is None


@pytest.mark.parametrize(
    ("reasons", "temperature_c", "state"),
    [
        (0x00, 40, "nominal"),
        (0x05, 40, "nominal"),  # idle, or held by its power limit
        (0x88, 40, "nominal"),  # the power brake is no heat
        (0x00, 87, "fair"),
        (0x20, 60, "serious"),
        (0x40, 60, "critical"),
        (0x08, 60, "critical"),
        (0x60, 60, "critical"),
        (None, 40, None),
        (None, 91, "fair"),
        (0x00, None, "nominal"),
    ],
)
def test_heat_in_the_words_of_the_wire(
    reasons: int | None, temperature_c: int | None, state: str | None
) -> None:
    assert thermal_state(reasons, temperature_c=temperature_c, slowdown_c=92) == state


@given(reasons=st.integers(0, 2**10), temperature_c=st.none() | st.integers(0, 120))
def test_more_reasons_never_make_it_cooler(reasons: int, temperature_c: int | None) -> None:
    states = [
        thermal_state(bits, temperature_c=temperature_c, slowdown_c=90)
        for bits in (reasons & ~0x60, reasons | 0x20, reasons | 0x60)
    ]
    ranks = [THERMAL_STATES.index(state) for state in states if state is not None]
    assert ranks == sorted(ranks)
    assert len(ranks) == 3


@pytest.mark.parametrize(("bits", "mhz"), [(None, 2619), (5120, None), (0, 2619), (5120, 0)])
def test_half_a_bandwidth_is_none(bits: int | None, mhz: int | None) -> None:
    assert bandwidth_gbs(bits, mhz) is None
