"""Any machine: this one, seen through folders that a test lays out."""

from pathlib import Path

import psutil
import pytest

from poolhand.backends.hosts.generic import GenericProbe, rdma_disabled

MIB = 2**20


def test_a_machine_without_limits_is_as_psutil_says(tmp_path: Path) -> None:
    probe = GenericProbe(root=tmp_path)
    facts, sample = probe.facts(), probe.sample()
    assert facts.memory_total_bytes is not None
    assert facts.memory_total_bytes == psutil.virtual_memory().total
    assert facts.memory_total_bytes == sample.memory_total_bytes
    assert sample.memory_available_bytes
    assert sample.memory_available_bytes <= facts.memory_total_bytes


def test_a_control_group_caps_both_figures(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (group / "memory.max").write_text(str(96 * MIB))
    (group / "memory.current").write_text(str(72 * MIB))
    probe = GenericProbe(root=tmp_path)
    assert probe.facts().memory_total_bytes == 96 * MIB
    sample = probe.sample()
    assert (sample.memory_total_bytes, sample.memory_available_bytes) == (96 * MIB, 24 * MIB)
    assert sample.memory_used_ratio == 0.75
    (group / "memory.max").write_text(str(64 * MIB))
    assert probe.facts().memory_total_bytes == 96 * MIB, "facts are read once"
    assert probe.sample().memory_available_bytes == 0, "samples are not"


def test_names_come_from_the_firmware(tmp_path: Path) -> None:
    dmi = tmp_path / "sys/class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "product_name").write_text("PowerEdge R760\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(
        "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9354\n\nmodel name\t: other\n"
    )
    facts = GenericProbe(root=tmp_path).facts()
    assert (facts.machine_model, facts.chip_name) == ("PowerEdge R760", "AMD EPYC 9354")


def test_a_board_with_a_device_tree(tmp_path: Path) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 5 Model B\0")
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nBogoMIPS\t: 108.00\n")
    facts = GenericProbe(root=tmp_path).facts()
    assert (facts.machine_model, facts.chip_name) == ("Raspberry Pi 5 Model B", None)


def test_what_a_cpu_host_cannot_know_is_absent(tmp_path: Path) -> None:
    probe = GenericProbe(root=tmp_path)
    facts, sample = probe.facts(), probe.sample()
    assert facts.kind == "generic"
    assert facts.chip_family == "unknown"
    absent = (
        facts.machine_model,
        facts.chip_name,
        facts.chip_tier,
        facts.gpu_cores,
        facts.memory_bandwidth_gbs,
        facts.sip_enabled,
        sample.thermal_state,
        sample.cpu_usage_ratio,
    )
    assert absent == (None,) * len(absent)
    assert (facts.gpus, sample.gpus) == ((), ())


def test_an_empty_name_is_no_name(tmp_path: Path) -> None:
    dmi = tmp_path / "sys/class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "product_name").write_text("\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("model name\t:\n")
    facts = GenericProbe(root=tmp_path).facts()
    assert (facts.machine_model, facts.chip_name) == (None, None)


def test_remote_memory_access_is_off_where_the_kernel_lists_no_adapter(tmp_path: Path) -> None:
    assert rdma_disabled(tmp_path) is None, "no /sys, no answer"
    classes = tmp_path / "sys/class"
    classes.mkdir(parents=True)
    assert rdma_disabled(tmp_path) is True
    (classes / "infiniband").mkdir()
    assert GenericProbe(root=tmp_path).facts().rdma_disabled is True
    (classes / "infiniband/mlx5_0").mkdir()
    assert GenericProbe(root=tmp_path).facts().rdma_disabled is False


def test_a_list_that_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "sys/class").mkdir(parents=True)
    (tmp_path / "sys/class/infiniband").write_text("a file is no list")
    assert rdma_disabled(tmp_path) is None


@pytest.mark.skipif(not Path("/sys/class").is_dir(), reason="a Linux kernel's own list")
def test_this_machines_list_is_read() -> None:
    listed = Path("/sys/class/infiniband")
    has_adapter = listed.is_dir() and any(listed.iterdir())
    assert rdma_disabled(Path("/")) is not has_adapter
