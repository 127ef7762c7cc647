"""How much memory a GPU has, by its name, and which one a person means."""

from __future__ import annotations

import re
from dataclasses import dataclass

from roots.errors import ConfigError
from roots.precision import PEAKS

GIB = 2**30

USABLE = 0.9
"""Share of a device's memory that a plan fills. The rest is for what no plan counts: the CUDA
context and its libraries, NCCL's own buffers, error correction where it takes from the memory, and
what the allocator cannot use because it lies in pieces."""


@dataclass(frozen=True)
class Memory:
    """The memory of a device.

    Args:
        gib: What the vendor prints as GB, which for these memories is about 2^30 bytes: an H100 of
            80 GB shows 81,559 MiB.
        source: Title and year of the vendor's document.
    """

    gib: float
    source: str

    @property
    def usable_bytes(self) -> int:
        """How much of it a plan may fill."""
        return int(self.gib * GIB * USABLE)


_A100 = "NVIDIA A100 Tensor Core GPU datasheet, 2021"
_H100 = "NVIDIA H100 Tensor Core GPU datasheet, 2023"
_H200 = "NVIDIA H200 Tensor Core GPU datasheet, 2024"
_V100 = "NVIDIA V100 Tensor Core GPU datasheet, 2020"

MEMORIES: dict[str, Memory] = {
    "NVIDIA B200": Memory(180, "NVIDIA Blackwell datasheet (HGX B200, one GPU of eight), 2025"),
    "NVIDIA H200": Memory(141, f"{_H200} (SXM)"),
    "NVIDIA H200 NVL": Memory(141, f"{_H200} (NVL)"),
    "NVIDIA GH200 480GB": Memory(96, "NVIDIA GH200 Grace Hopper Superchip datasheet, 2024 (HBM3)"),
    "NVIDIA H100 80GB HBM3": Memory(80, f"{_H100} (SXM5)"),
    "NVIDIA H100 PCIe": Memory(80, f"{_H100} (PCIe)"),
    "NVIDIA H100 NVL": Memory(94, f"{_H100} (NVL, one GPU)"),
    "NVIDIA A100-SXM4-80GB": Memory(80, f"{_A100} (SXM)"),
    "NVIDIA A100-SXM4-40GB": Memory(
        40, "NVIDIA A100 Tensor Core GPU Architecture whitepaper, 2020 (SXM4)"
    ),
    "NVIDIA A100 80GB PCIe": Memory(80, f"{_A100} (PCIe)"),
    "NVIDIA A100-PCIE-40GB": Memory(40, "NVIDIA A100 40GB PCIe product brief, 2020"),
    "NVIDIA L40S": Memory(48, "NVIDIA L40S datasheet, 2023"),
    "NVIDIA L4": Memory(24, "NVIDIA L4 Tensor Core GPU datasheet, 2023"),
    "NVIDIA A10": Memory(24, "NVIDIA A10 Tensor Core GPU datasheet, 2021"),
    "NVIDIA A10G": Memory(24, "NVIDIA A10G datasheet for Amazon EC2 G5, 2021"),
    "NVIDIA GeForce RTX 4090": Memory(24, "NVIDIA Ada GPU Architecture whitepaper, 2022"),
    "NVIDIA GeForce RTX 3090": Memory(24, "NVIDIA Ampere GA102 GPU Architecture whitepaper, 2020"),
    "Tesla V100-SXM2-32GB": Memory(32, f"{_V100} (SXM2)"),
    "Tesla V100-SXM2-16GB": Memory(16, f"{_V100} (SXM2)"),
    "Tesla V100-PCIE-32GB": Memory(32, f"{_V100} (PCIe)"),
    "Tesla V100-PCIE-16GB": Memory(16, f"{_V100} (PCIe)"),
    "Tesla T4": Memory(16, "NVIDIA T4 Tensor Core GPU datasheet, 2019"),
    "AMD Instinct MI300X": Memory(192, "AMD Instinct MI300X accelerator data sheet, 2023"),
}
"""By the exact name that `torch.cuda.get_device_name` gives, as in `precision.PEAKS`. A slice of a
device (MIG) has its own name and is not here."""


def device_meant(words: str) -> str:
    """Finds the device that a person means: `H100-80GB`, `a100 40gb`, `RTX 4090`, `H200`.

    Each part of `words` must be in the name, capitals and dashes aside. Where several devices have
    it, one whose name is nothing else wins; so do several that are alike in memory and rates.

    Raises:
        ConfigError: No device has that name, or several different ones do.
    """
    parts = re.findall(r"[a-z0-9]+", words.lower())
    asked = "".join(parts)
    found = [name for name in MEMORIES if parts and all(p in _letters(name) for p in parts)]
    exact = [name for name in found if asked in (_letters(name), _letters(_without_vendor(name)))]
    candidates = exact or found
    alike = {(MEMORIES[name].gib, _rates(name)) for name in candidates}
    if len(alike) == 1:
        return candidates[0]
    if not candidates:
        raise ConfigError(
            f"The table of devices has no {words!r}. Set --gpu to one of {', '.join(MEMORIES)}."
        )
    raise ConfigError(
        f"--gpu {words!r} may be any of {', '.join(candidates)}. Give more of the name."
    )


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _without_vendor(name: str) -> str:
    return re.sub(r"^(NVIDIA GeForce RTX|NVIDIA GeForce|NVIDIA|Tesla|AMD Instinct) ", "", name)


def _rates(name: str) -> tuple[float | None, ...]:
    peak = PEAKS[name]
    return peak.bfloat16, peak.float16, peak.tfloat32, peak.float32, peak.float8
