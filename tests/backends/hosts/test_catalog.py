"""Which probe a machine gets, and what is imported to find out."""

import subprocess
import sys

import pytest

from poolhand.backends.hosts.catalog import activity_for, probe_for


@pytest.mark.parametrize(
    ("platform", "machine", "probes"),
    [
        ("darwin", "arm64", {"AppleProbe"}),
        ("linux", "x86_64", {"GenericProbe", "NvidiaProbe"}),
        ("darwin", "x86_64", {"GenericProbe", "NvidiaProbe"}),
        ("plan9", "mips", {"GenericProbe", "NvidiaProbe"}),
    ],
)
def test_a_machine_gets_its_probe(platform: str, machine: str, probes: set[str]) -> None:
    # these tests may run beside a real board
    assert type(probe_for(platform, machine)).__name__ in probes


@pytest.mark.parametrize(
    ("platform", "probe"),
    [("darwin", "MacActivity"), ("linux", "LinuxActivity"), ("plan9", "LinuxActivity")],
)
def test_an_owner_is_looked_for_in_the_systems_own_way(platform: str, probe: str) -> None:
    for wanted in ((), ("input", "battery", "gpu", "heat")):
        assert type(activity_for(platform, wanted)).__name__ == probe


def modules_after(program: str) -> set[str]:
    said = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(said.stdout.split())


def test_nothing_is_imported_before_it_is_chosen() -> None:
    hosts = "poolhand.backends.hosts"
    modules = modules_after(f"import {hosts}.catalog")
    assert not modules & {"pynvml", "psutil", f"{hosts}.apple", f"{hosts}.nvidia"}
    modules = modules_after(f"from {hosts}.catalog import probe_for; probe_for('darwin', 'arm64')")
    assert f"{hosts}.apple" in modules
    assert not modules & {"pynvml", f"{hosts}.nvidia", f"{hosts}.nvml"}


def test_a_machine_without_the_extra_is_generic() -> None:
    program = """
import sys
sys.modules["pynvml"] = None   # what an import of something absent looks like
from poolhand.backends.hosts.catalog import activity_for, probe_for
assert type(probe_for("linux", "x86_64")).__name__ == "GenericProbe"
"""
    assert "poolhand.backends.hosts.nvidia" not in modules_after(program)


def test_no_board_is_looked_for_unless_the_gpu_is_heeded() -> None:
    hosts = "poolhand.backends.hosts"
    begin = f"from {hosts}.catalog import activity_for; activity_for('linux', "
    modules = modules_after(f"{begin}('input', 'battery'))")
    assert f"{hosts}.activity_linux" in modules
    assert not modules & {"pynvml", "psutil", f"{hosts}.nvml", f"{hosts}.activity_gpu"}
    assert f"{hosts}.activity_gpu" in modules_after(f"{begin}('gpu',))")
