"""What every HostProbe promises, asked of each: this machine, a Mac, two GPU hosts."""

import importlib.util
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import fields
from pathlib import Path
from typing import cast

import pytest

from poolhand.backends.hosts.apple import CSRUTIL, DISPLAYS, SYSCTL, THERMAL, VM_STAT, AppleProbe
from poolhand.backends.hosts.base import THERMAL_STATES, HostFacts, HostProbe, HostSample
from poolhand.backends.hosts.generic import GenericProbe

MAC = {
    SYSCTL: "hw.model: Mac15,12\nhw.memsize: 17179869184\nmachdep.cpu.brand_string: Apple M3\n"
    "hw.logicalcpu: 8\nhw.nperflevels: 2\nhw.perflevel0.logicalcpu: 4\n"
    "hw.perflevel1.logicalcpu: 4\n",
    VM_STAT: "Mach Virtual Memory Statistics: (page size of 16384 bytes)\nPages free: 9000.\n"
    "Pages inactive: 200000.\nPages speculative: 1000.\n",
    DISPLAYS: '{"SPDisplaysDataType": [{"sppci_cores": "10"}]}',
    CSRUTIL: "System Integrity Protection status: enabled.\n",
    THERMAL: "com.apple.system.thermalpressurelevel 1\n",
}
BOARD = """- count 1
0 name NVIDIA L4
0 memory_v2 24152899584 300000000 20000000000
0 memory 24152899584 20000000000
0 capability 8.9
0 cores 7424
0 bus_bits 192
0 memory_mhz 6251
0 busy_percent 12
0 celsius 50
0 reasons 0x0
"""
UNIFIED = "- count 1\n0 name NVIDIA GB10\n0 capability 12.1\n0 cores 6144\n"

NvmlHosts = Callable[[str], AbstractContextManager[HostProbe]]


@pytest.fixture(scope="module")
def nvml_hosts(tmp_path_factory: pytest.TempPathFactory) -> NvmlHosts:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the stand-in with")
    path = Path(__file__).parents[1] / "native" / "nvml_host.py"
    spec = importlib.util.spec_from_file_location("nvml_host", path)
    assert spec is not None
    assert spec.loader is not None
    native = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(native)
    folder = tmp_path_factory.mktemp("nvml")
    library = cast("Path", native.compile_library(folder, compiler=compiler))

    def start(answers: str) -> AbstractContextManager[HostProbe]:
        path = folder / f"answers-{len(answers)}"
        path.write_text(answers)
        return cast("AbstractContextManager[HostProbe]", native.running_host(library, path))

    return start


@pytest.fixture(params=["generic", "apple", "silent mac", "nvidia", "unified"])
def probe(request: pytest.FixtureRequest) -> Iterator[HostProbe]:
    with ExitStack() as stack:
        match cast("str", request.param):
            case "generic":
                yield GenericProbe()
            case "apple":
                yield AppleProbe(MAC.get)
            case "silent mac":
                yield AppleProbe(lambda _command: None)
            case kind:
                hosts = cast("NvmlHosts", request.getfixturevalue("nvml_hosts"))
                yield stack.enter_context(hosts(BOARD if kind == "nvidia" else UNIFIED))


def test_facts_are_in_range(probe: HostProbe) -> None:
    facts = probe.facts()
    assert isinstance(facts, HostFacts)
    assert facts.kind in {"apple", "nvidia", "generic"}
    assert facts.chip_family
    counts = (
        facts.memory_total_bytes,
        facts.cpu_cores.total,
        facts.cpu_cores.performance,
        facts.cpu_cores.efficiency,
        *(gpu.memory_total_bytes for gpu in facts.gpus),
        *(gpu.cores for gpu in facts.gpus),
    )
    for count in counts:
        assert count is None or (type(count) is int and count > 0), "absent, never 0"
    assert facts.gpu_cores is None or type(facts.gpu_cores) is int
    assert facts.memory_bandwidth_gbs is None or 1 < facts.memory_bandwidth_gbs < 20_000


def test_names_are_words_or_absent(probe: HostProbe) -> None:
    facts = probe.facts()
    for name in (facts.machine_model, facts.chip_name, facts.chip_tier):
        assert name is None or (name == name.strip() and name)


def test_a_sample_is_in_range(probe: HostProbe) -> None:
    for sample in (probe.sample(), probe.sample()):
        assert isinstance(sample, HostSample)
        total_bytes, available_bytes = sample.memory_total_bytes, sample.memory_available_bytes
        if total_bytes is not None and available_bytes is not None:
            assert 0 <= available_bytes <= total_bytes
        ratios = (sample.memory_used_ratio, sample.cpu_usage_ratio)
        for ratio in (*ratios, *(gpu.usage_ratio for gpu in sample.gpus)):
            assert ratio is None or 0.0 <= ratio <= 1.0
        assert sample.thermal_state in {None, *THERMAL_STATES}


def test_the_first_load_of_the_cpu_is_not_made_up(probe: HostProbe) -> None:
    assert probe.sample().cpu_usage_ratio is None


def test_the_used_part_is_told_exactly_when_both_figures_are(probe: HostProbe) -> None:
    sample = probe.sample()
    is_known = None not in {sample.memory_total_bytes, sample.memory_available_bytes}
    assert (sample.memory_used_ratio is not None) == is_known


def test_facts_are_stable_and_agree_with_samples(probe: HostProbe) -> None:
    facts = probe.facts()
    sample = probe.sample()
    assert probe.facts() == facts
    assert sample.memory_total_bytes == facts.memory_total_bytes
    assert [gpu.index for gpu in sample.gpus] == [gpu.index for gpu in facts.gpus]


def test_a_sample_is_cheap(probe: HostProbe) -> None:
    probe.facts()
    probe.sample()
    began_s = time.perf_counter()
    for _ in range(10):
        probe.sample()
    assert (time.perf_counter() - began_s) / 10 < 0.1, "one is taken every few seconds, for ever"


def test_what_was_measured_can_be_compared_and_not_changed(probe: HostProbe) -> None:
    facts = probe.facts()
    assert hash(facts) == hash(probe.facts())
    with pytest.raises(AttributeError):
        setattr(facts, fields(facts)[0].name, "other")
