"""A container's CPU quota counts, not the cores of the machine below it (5.36)."""

from pathlib import Path

import pytest

from mlsd.core import cpu


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 64 cores; this process is in the control group /pods/mine."""
    monkeypatch.setattr(cpu, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cpu, "OWN_CGROUP", tmp_path / "self")
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    (tmp_path / "self").write_text("1:cpu:/old\n0::/pods/mine\n")
    (tmp_path / "cgroup" / "pods" / "mine").mkdir(parents=True)
    return tmp_path / "cgroup"


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, 64),
        ({"pods/mine": "max 100000"}, 64),
        ({"pods/mine": "200000 100000"}, 2),
        ({"pods/mine": "150000 100000"}, 2),
        ({"pods/mine": "20000 100000"}, 1),
        ({"pods/mine": "max 100000", "pods": "400000 100000"}, 4),
        ({".": "300000 100000"}, 3),  # as inside a container
        ({"pods/mine": "9900000 100000"}, 64),
        ({"pods/mine": "garbled"}, 64),
    ],
)
def test_the_smallest_quota_on_the_way_up_counts(groups: Path, limits: dict[str, str], expected: int) -> None:
    for folder, text in limits.items():
        (groups / folder / "cpu.max").write_text(text)
    assert cpu.usable() == expected


def test_without_control_groups_or_affinity_the_machine_counts(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS."""
    cpu.OWN_CGROUP.unlink()
    monkeypatch.delattr(cpu.os, "sched_getaffinity")
    monkeypatch.setattr(cpu.os, "cpu_count", lambda: 8)
    assert cpu.usable() == 8
