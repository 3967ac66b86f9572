"""The memory available, with and without a control group."""

from __future__ import annotations

from pathlib import Path

from rtmpsrv.memory import available_bytes


def write(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_without_control_groups_it_is_the_machines(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) > 1024 * 1024


def test_no_limit_is_no_limit(tmp_path: Path) -> None:
    write(tmp_path, "sys/fs/cgroup/memory.max", "max\n")
    assert available_bytes(tmp_path) == available_bytes(tmp_path / "nothing here")


def test_a_container_limit_of_version_2_counts(tmp_path: Path) -> None:
    write(tmp_path, "sys/fs/cgroup/memory.max", "1048576\n")
    assert available_bytes(tmp_path) == 1048576


def test_a_container_limit_of_version_1_counts(tmp_path: Path) -> None:
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "2097152\n")
    assert available_bytes(tmp_path) == 2097152


def test_the_smallest_limit_of_the_own_groups_counts(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "1:name=systemd:/x\n0::/system.slice/rtmpsrv.service\n")
    write(tmp_path, "sys/fs/cgroup/system.slice/rtmpsrv.service/memory.max", "max\n")
    write(tmp_path, "sys/fs/cgroup/system.slice/memory.max", "4096\n")
    assert available_bytes(tmp_path) == 4096


def test_a_machine_with_version_1_groups_only_has_no_own_group(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "4:memory:/docker/abc\n")
    assert available_bytes(tmp_path) > 1024 * 1024
