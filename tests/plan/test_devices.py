"""The table of devices, and which one a person means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from roots.errors import ConfigError
from roots.plan.devices import GIB, MEMORIES, device_meant
from roots.plan.target import free_bytes
from roots.precision import PEAKS


def test_every_device_has_a_rate_and_a_memory_with_a_source() -> None:
    assert MEMORIES.keys() == PEAKS.keys()
    assert all(re.search(r"20\d\d", memory.source) for memory in MEMORIES.values())


def test_a_name_that_tells_the_memory_tells_the_one_in_the_table() -> None:
    told = {name: re.search(r"(\d+)GB", name) for name in MEMORIES if "GH200" not in name}
    assert sum(found is not None for found in told.values()) >= 9
    for name, found in told.items():
        assert found is None or int(found[1]) == MEMORIES[name].gib


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("H100-80GB", "NVIDIA H100 80GB HBM3"),
        ("h200", "NVIDIA H200"),
        ("H200 NVL", "NVIDIA H200 NVL"),
        ("A100-40", "NVIDIA A100-SXM4-40GB"),
        ("a100 80gb", "NVIDIA A100-SXM4-80GB"),
        ("RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("3090", "NVIDIA GeForce RTX 3090"),
        ("L4", "NVIDIA L4"),
        ("L40S", "NVIDIA L40S"),
        ("A10", "NVIDIA A10"),
        ("T4", "Tesla T4"),
    ],
)
def test_a_person_is_understood(words: str, name: str) -> None:
    assert device_meant(words) == name
    assert device_meant(name) == name


def test_a_name_of_different_devices_is_refused_with_those() -> None:
    with pytest.raises(ConfigError, match=r"--gpu 'H100' may be any of .*H100 PCIe.*more of"):
        device_meant("H100")
    assert device_meant("H100 PCIe") == "NVIDIA H100 PCIe"


@pytest.mark.parametrize("words", ["H900", "", "-"])
def test_a_device_that_is_not_known_is_refused_with_those_that_are(words: str) -> None:
    with pytest.raises(ConfigError, match=r"has no .*NVIDIA L40S"):
        device_meant(words)


def test_a_plan_leaves_a_tenth_of_the_memory() -> None:
    assert MEMORIES["NVIDIA H100 80GB HBM3"].usable_bytes == pytest.approx(72 * GIB)


def test_a_containers_pages_of_files_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = "anon 100\ninactive_file 3000000\nactive_file 7\n"
    for name, text in (("LIMIT", "16000000"), ("USED", "15000000"), ("PARTS", stat)):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(f"roots.plan.target.CGROUP_{name}", tmp_path / name)
    assert free_bytes() == 4_000_000
    (tmp_path / "PARTS").unlink()
    assert free_bytes() == 1_000_000
