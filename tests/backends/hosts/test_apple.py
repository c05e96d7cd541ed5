"""Apple's probe, fed with what the tools print on several Macs; no Mac takes part.

The outputs are of the tools' published forms; the figures of a machine are put together.
"""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhand.backends.hosts.apple import (
    CSRUTIL,
    DISPLAYS,
    RDMA,
    SYSCTL,
    THERMAL,
    VM_STAT,
    AppleProbe,
    available_memory_bytes,
    bandwidth_gbs,
    chip_family_and_tier,
    displays_gpu_cores,
    rdma_disabled,
    run_tool,
    sip_enabled,
    sysctl_values,
    thermal_state,
)
from poolhand.backends.hosts.base import CpuCores

GIB = 2**30

M4_MAX_SYSCTL = """hw.model: Mac16,5
hw.memsize: 68719476736
machdep.cpu.brand_string: Apple M4 Max
hw.logicalcpu: 16
hw.nperflevels: 2
hw.perflevel0.logicalcpu: 12
hw.perflevel1.logicalcpu: 4
"""
VM_STAT_TEXT = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                             1000000.
Pages active:                           1200000.
Pages inactive:                          800000.
Pages speculative:                        50000.
Pages throttled:                              0.
Pages wired down:                        300000.
Pages purgeable:                          20000.
"Translation faults":                 123456789.
"""
DISPLAYS_TEXT = """{
  "SPDisplaysDataType" : [
    {
      "_name" : "kHW_AppleM4MaxItem",
      "spdisplays_mtlgpufamilysupport" : "spdisplays_metal4",
      "sppci_bus" : "spdisplays_builtin",
      "sppci_cores" : "40",
      "sppci_device_type" : "spdisplays_gpu",
      "sppci_model" : "Apple M4 Max"
    }
  ]
}"""
M4_MAX = {
    SYSCTL: M4_MAX_SYSCTL,
    VM_STAT: VM_STAT_TEXT,
    DISPLAYS: DISPLAYS_TEXT,
    CSRUTIL: "System Integrity Protection status: enabled.\n",
    THERMAL: "com.apple.system.thermalpressurelevel 0\n",
    RDMA: "disabled\n",
}


def test_an_m4_max_is_read_whole() -> None:
    probe = AppleProbe(M4_MAX.get)
    facts, sample = probe.facts(), probe.sample()
    assert facts.kind == "apple"
    assert (facts.machine_model, facts.chip_name) == ("Mac16,5", "Apple M4 Max")
    assert (facts.chip_family, facts.chip_tier) == ("m4", "max")
    assert facts.memory_total_bytes == 64 * GIB
    assert facts.cpu_cores == CpuCores(total=16, performance=12, efficiency=4)
    assert (facts.gpu_cores, facts.memory_bandwidth_gbs) == (40, 546.0)
    assert facts.sip_enabled is True
    # off, or not there at all where this test runs
    assert (facts.secure_boot_enabled, facts.rdma_disabled) == (None, True)
    assert sample.memory_total_bytes == 64 * GIB
    assert sample.memory_available_bytes == (1_000_000 + 50_000 + 800_000) * 16384
    assert sample.memory_used_ratio == pytest.approx(1 - 1_850_000 / 4_194_304)
    assert sample.thermal_state == "nominal"


def test_a_mac_that_says_nothing_has_nothing_made_up() -> None:
    probe = AppleProbe(lambda _command: None)
    facts, sample = probe.facts(), probe.sample()
    absent = (
        facts.machine_model,
        facts.chip_name,
        facts.chip_tier,
        facts.memory_total_bytes,
        facts.gpu_cores,
        facts.memory_bandwidth_gbs,
        facts.sip_enabled,
        sample.memory_total_bytes,
        sample.memory_available_bytes,
        sample.memory_used_ratio,
        sample.thermal_state,
    )
    assert absent == (None,) * len(absent)
    assert facts.cpu_cores == CpuCores()
    assert facts.chip_family == "unknown"


def test_the_slow_tools_run_once_and_a_sample_runs_two_quick_ones() -> None:
    asked: list[tuple[str, ...]] = []

    def read(command: tuple[str, ...]) -> str | None:
        asked.append(command)
        return M4_MAX[command]

    probe = AppleProbe(read)
    probe.facts()
    probe.facts()
    assert sorted(asked) == sorted([SYSCTL, DISPLAYS, CSRUTIL])
    asked.clear()
    probe.sample()
    assert asked == [VM_STAT, THERMAL]
    assert all(command[0].startswith("/") for command in M4_MAX), "launchd has no PATH"


def test_a_virtual_mac_has_no_levels_of_performance() -> None:
    chip = "machdep.cpu.brand_string: Apple M1 (Virtual)"
    said = f"hw.memsize: 8589934592\n{chip}\nhw.logicalcpu: 4\n"
    facts = AppleProbe({SYSCTL: said}.get).facts()
    assert facts.cpu_cores == CpuCores(total=4)
    assert (facts.chip_family, facts.chip_tier) == ("unknown", None)
    assert facts.memory_total_bytes == 8 * GIB


def test_three_kinds_of_core_are_not_pressed_into_two() -> None:
    said = M4_MAX_SYSCTL.replace("nperflevels: 2", "nperflevels: 3")
    assert AppleProbe({SYSCTL: said}.get).facts().cpu_cores == CpuCores(total=16)


def test_more_available_than_there_is_cannot_be() -> None:
    said = M4_MAX | {SYSCTL: "hw.memsize: 8589934592\n"}
    sample = AppleProbe(said.get).sample()
    assert (sample.memory_available_bytes, sample.memory_used_ratio) == (8 * GIB, 0.0)


@pytest.mark.parametrize(
    ("chip", "family", "tier", "gpu_cores", "gbs"),
    [
        ("Apple M1", "m1", "base", 8, 68.25),
        ("Apple M1 Pro", "m1", "pro", 16, 200.0),
        ("Apple M1 Ultra", "m1", "ultra", 64, 800.0),
        ("Apple M2 Max", "m2", "max", 38, 400.0),
        ("Apple M3", "m3", "base", 10, 100.0),
        ("Apple M3 Pro", "m3", "pro", 18, 150.0),
        ("Apple M3 Max", "m3", "max", 30, 300.0),
        ("Apple M3 Max", "m3", "max", 40, 400.0),
        ("Apple M3 Ultra", "m3", "ultra", 80, 819.0),
        ("Apple M4", "m4", "base", 10, 120.0),
        ("Apple M4 Pro", "m4", "pro", 20, 273.0),
        ("Apple M4 Max", "m4", "max", 32, 410.0),
        ("Apple M4 Max", "m4", "max", None, None),  # two chips bear the name
        ("Apple M4 Max", "m4", "max", 36, None),
        ("Apple M12", "m12", "base", 10, None),  # not in the table: not guessed
        ("Apple M4 Extreme", "unknown", None, 80, None),
        ("Intel(R) Core(TM) i9-9880H CPU @ 2.30GHz", "unknown", None, None, None),
        ("", "unknown", None, None, None),
        (None, "unknown", None, None, None),
    ],
)
def test_chips(
    chip: str | None, family: str, tier: str | None, gpu_cores: int | None, gbs: float | None
) -> None:
    assert chip_family_and_tier(chip) == (family, tier)
    assert bandwidth_gbs(family, tier, gpu_cores=gpu_cores) == gbs


@pytest.mark.parametrize(
    ("text", "enabled"),
    [
        ("System Integrity Protection status: enabled.\n", True),
        ("System Integrity Protection status: disabled.\n", False),
        ("System Integrity Protection status: enabled (Custom Configuration).\n\n…", None),
        ("System Integrity Protection status: unknown (Custom Configuration).\n", None),
        ("csrutil: failed to retrieve system integrity configuration\n", None),
        ("", None),
        (None, None),
    ],
)
def test_system_integrity_protection(text: str | None, *, enabled: bool | None) -> None:
    assert sip_enabled(text) is enabled


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("com.apple.system.thermalpressurelevel 0\n", "nominal"),
        ("com.apple.system.thermalpressurelevel 1\n", "fair"),
        ("com.apple.system.thermalpressurelevel 2\n", "serious"),
        ("com.apple.system.thermalpressurelevel 3\n", "critical"),
        ("com.apple.system.thermalpressurelevel 4\n", "critical"),
        ("com.apple.system.thermalpressurelevel 9\n", None),
        ("com.apple.system.thermalpressurelevel: Failed with code 1\n", None),
        ("", None),
        (None, None),
    ],
)
def test_heat_in_the_words_of_the_wire(text: str | None, state: str | None) -> None:
    assert thermal_state(text) == state


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        "null",
        "{}",
        '{"SPDisplaysDataType": {}}',
        '{"SPDisplaysDataType": [1, {"sppci_cores": "many"}, {"sppci_cores": "0"}]}',
        "[" * 100_000,
    ],
)
def test_displays_without_cores(text: str | None) -> None:
    assert displays_gpu_cores(text) is None


def test_an_external_board_without_cores_is_passed_over() -> None:
    boards = {"SPDisplaysDataType": [{"_name": "eGPU"}, {"sppci_cores": "10"}]}
    assert displays_gpu_cores(json.dumps(boards)) == 10


@pytest.mark.parametrize("missing", ["Pages free", "Pages inactive", "Pages speculative", "page"])
def test_half_a_sum_is_no_sum(missing: str) -> None:
    assert available_memory_bytes(VM_STAT_TEXT.replace(missing, "?")) is None


@given(st.text())
def test_nothing_a_tool_prints_makes_us_fall(text: str) -> None:
    probe = AppleProbe(lambda _command: text)
    probe.facts()
    probe.sample()


def test_a_tool_is_heard_whatever_its_exit_code() -> None:
    program = "print('hw.memsize: 1'); raise SystemExit(1)"
    assert sysctl_values(run_tool((sys.executable, "-c", program))) == {"hw.memsize": "1"}


def test_a_tool_that_is_not_there_says_nothing() -> None:
    assert run_tool(("/nowhere/sysctl", "hw.model")) is None


@pytest.mark.parametrize(
    ("text", "is_disabled"),
    [
        ("disabled\n", True),
        ("enabled\n", False),
        ("Disabled", True),
        ("not disabled", None),
        ("", None),
        (None, None),
    ],
)
def test_remote_memory_access_is_as_its_tool_says(
    text: str | None, *, is_disabled: bool | None
) -> None:
    assert rdma_disabled(text) is is_disabled
    said = {**M4_MAX, RDMA: text}
    assert AppleProbe(said.get, has_tool=lambda _: True).facts().rdma_disabled is is_disabled


def test_a_mac_without_the_tool_has_no_remote_memory_access() -> None:
    looked_for: list[str] = []

    def has_tool(path: str) -> bool:
        looked_for.append(path)
        return False

    said = {**M4_MAX, RDMA: "enabled"}
    assert AppleProbe(said.get, has_tool=has_tool).facts().rdma_disabled is True
    assert looked_for == ["/usr/bin/rdma_ctl"]
