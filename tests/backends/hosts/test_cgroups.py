"""Control groups of both versions, laid out in a folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from poolhand.backends.hosts.cgroups import MemoryRoom, memory_room

GIB = 2**30
TOTAL_BYTES = 64 * GIB
UNLIMITED_V1 = "9223372036854771712"


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_container_of_version_2(tmp_path: Path) -> None:
    root = lay_out(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": f"{8 * GIB}\n",
            "sys/fs/cgroup/memory.high": "max\n",
            "sys/fs/cgroup/memory.current": f"{5 * GIB}\n",
            "sys/fs/cgroup/memory.stat": f"anon {3 * GIB}\ninactive_file {GIB}\n"
            f"active_file {GIB // 2}\nslab_reclaimable {GIB // 2}\n",
        },
    )
    room = memory_room(root, total_bytes=TOTAL_BYTES)
    assert room == MemoryRoom(limit_bytes=8 * GIB, available_bytes=5 * GIB), "page cache is free"


def test_memory_high_binds_too(tmp_path: Path) -> None:
    root = lay_out(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": f"{8 * GIB}\n",
            "sys/fs/cgroup/memory.high": f"{6 * GIB}\n",
            "sys/fs/cgroup/memory.current": f"{1 * GIB}\n",
        },
    )
    room = memory_room(root, total_bytes=TOTAL_BYTES)
    assert room == MemoryRoom(limit_bytes=6 * GIB, available_bytes=5 * GIB)


def test_every_level_above_binds(tmp_path: Path) -> None:
    base = "sys/fs/cgroup"
    root = lay_out(
        tmp_path,
        {
            "proc/self/cgroup": "0::/system.slice/poolhand.service\n",
            f"{base}/system.slice/poolhand.service/memory.max": "max\n",
            f"{base}/system.slice/poolhand.service/memory.current": f"{GIB}\n",
            f"{base}/system.slice/memory.max": f"{16 * GIB}\n",
            # a neighbour in the same slice has taken nearly all
            f"{base}/system.slice/memory.current": f"{15 * GIB}\n",
        },
    )
    room = memory_room(root, total_bytes=TOTAL_BYTES)
    assert room == MemoryRoom(limit_bytes=16 * GIB, available_bytes=GIB)


def test_a_path_that_only_the_host_can_see(tmp_path: Path) -> None:
    root = lay_out(
        tmp_path,
        {
            "proc/self/cgroup": "0::/../../kubepods/pod1\n",
            "sys/fs/cgroup/memory.max": f"{4 * GIB}\n",
            "sys/fs/cgroup/memory.current": "0\n",
        },
    )
    room = memory_room(root, total_bytes=TOTAL_BYTES)
    assert room == MemoryRoom(limit_bytes=4 * GIB, available_bytes=4 * GIB)


@pytest.mark.parametrize("path", ["//etc", "/a\0b", "///", "/../..//x"])
def test_a_path_never_leads_out_of_the_mount(tmp_path: Path, path: str) -> None:
    root = lay_out(
        tmp_path,
        {"proc/self/cgroup": f"0::{path}\n", "sys/fs/cgroup/memory.max": f"{4 * GIB}\n"},
    )
    room = memory_room(root, total_bytes=TOTAL_BYTES)
    assert room == MemoryRoom(limit_bytes=4 * GIB, available_bytes=4 * GIB)


def test_a_container_of_version_1(tmp_path: Path) -> None:
    base = "sys/fs/cgroup/memory"
    root = lay_out(
        tmp_path,
        {
            "proc/self/cgroup": "12:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n1:name=systemd:/\n",
            f"{base}/memory.limit_in_bytes": f"{2 * GIB}\n",
            f"{base}/memory.usage_in_bytes": f"{2 * GIB}\n",
            f"{base}/memory.stat": f"cache 1\ntotal_inactive_file {GIB}\n",
        },
    )
    room = memory_room(root, total_bytes=TOTAL_BYTES)
    assert room == MemoryRoom(limit_bytes=2 * GIB, available_bytes=GIB)


@pytest.mark.parametrize("limit", [UNLIMITED_V1, str(TOTAL_BYTES), "max", "", "-1", "nonsense"])
def test_what_is_no_limit(tmp_path: Path, limit: str) -> None:
    root = lay_out(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/\n0::/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": limit,
            "sys/fs/cgroup/memory.max": limit,
        },
    )
    assert memory_room(root, total_bytes=TOTAL_BYTES) is None


def test_a_machine_without_groups(tmp_path: Path) -> None:
    assert memory_room(tmp_path, total_bytes=TOTAL_BYTES) is None


def texts() -> SearchStrategy[str]:
    return st.sampled_from(["max", "", "0", "12345\n", f"{3 * GIB}", "x y z", "inactive_file 7\n"])


@given(group=st.text(max_size=12), limit=texts(), high=texts(), current=texts(), stat=texts())
def test_whatever_the_files_say_room_is_within_its_limit(
    tmp_path_factory: pytest.TempPathFactory,
    group: str,
    limit: str,
    high: str,
    current: str,
    stat: str,
) -> None:
    root = tmp_path_factory.mktemp("root")
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_bytes(f"0::/{group}\n".encode(errors="replace"))
    base = "sys/fs/cgroup/memory"
    lay_out(
        root,
        {f"{base}.max": limit, f"{base}.high": high, f"{base}.current": current,
         f"{base}.stat": stat},
    )  # fmt: skip
    room = memory_room(root, total_bytes=TOTAL_BYTES)
    assert room is None or 0 <= room.available_bytes <= room.limit_bytes < TOTAL_BYTES
