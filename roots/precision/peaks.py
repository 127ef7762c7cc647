"""How fast a device multiplies matrices at best: vendors' figures for GPUs, a measurement on CPUs.

It stands beside the number formats because the format decides which rate is meant.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch


@dataclass(frozen=True)
class Peak:
    """Dense rates of one device, in TFLOP/s; None where it has no units for a format.

    Products accumulate in float32, as torch's do. A figure that a vendor prints only with 2:4
    sparsity is halved, which the source says.

    Args:
        source: Title and year of the vendor's document.
        bfloat16: Products of bfloat16 numbers.
        float16: Products of float16 numbers.
        tfloat32: Products of float32 numbers that are rounded to 10 bits of mantissa.
        float32: Products of float32 numbers.
        float8: Products of 8-bit floating-point numbers.
    """

    source: str
    bfloat16: float | None
    float16: float | None
    tfloat32: float | None
    float32: float
    float8: float | None = None


_A100 = Peak(
    "NVIDIA A100 Tensor Core GPU datasheet, 2021",
    bfloat16=312,
    float16=312,
    tfloat32=156,
    float32=19.5,
)
_V100_SXM2 = Peak(
    "NVIDIA V100 Tensor Core GPU datasheet, 2020",
    bfloat16=None,
    float16=125,
    tfloat32=None,
    float32=15.7,
)
_V100_PCIE = Peak(
    "NVIDIA V100 Tensor Core GPU datasheet, 2020",
    bfloat16=None,
    float16=112,
    tfloat32=None,
    float32=14,
)

PEAKS: dict[str, Peak] = {
    "NVIDIA B200": Peak(
        "NVIDIA Blackwell datasheet (HGX B200, one GPU), 2025; tensor rates halved",
        bfloat16=2250,
        float16=2250,
        tfloat32=1100,
        float32=75,
        float8=4500,
    ),
    "NVIDIA H200": Peak(
        "NVIDIA H200 Tensor Core GPU datasheet (SXM), 2024; tensor rates halved",
        bfloat16=989.5,
        float16=989.5,
        tfloat32=494.5,
        float32=67,
        float8=1979,
    ),
    "NVIDIA H200 NVL": Peak(
        "NVIDIA H200 Tensor Core GPU datasheet (NVL), 2024; tensor rates halved",
        bfloat16=835.5,
        float16=835.5,
        tfloat32=417.5,
        float32=60,
        float8=1670.5,
    ),
    "NVIDIA GH200 480GB": Peak(
        "NVIDIA GH200 Grace Hopper Superchip datasheet, 2024; tensor rates halved",
        bfloat16=989.5,
        float16=989.5,
        tfloat32=494.5,
        float32=67,
        float8=1979,
    ),
    "NVIDIA H100 80GB HBM3": Peak(
        "NVIDIA H100 Tensor Core GPU Architecture whitepaper (SXM5), 2022",
        bfloat16=989.4,
        float16=989.4,
        tfloat32=494.7,
        float32=66.9,
        float8=1978.9,
    ),
    "NVIDIA H100 PCIe": Peak(
        "NVIDIA H100 Tensor Core GPU Architecture whitepaper (PCIe), 2022",
        bfloat16=756,
        float16=756,
        tfloat32=378,
        float32=51.2,
        float8=1513,
    ),
    "NVIDIA H100 NVL": Peak(
        "NVIDIA H100 Tensor Core GPU datasheet (NVL, one GPU), 2024; tensor rates halved",
        bfloat16=835.5,
        float16=835.5,
        tfloat32=417.5,
        float32=60,
        float8=1670.5,
    ),
    "NVIDIA A100-SXM4-80GB": _A100,
    "NVIDIA A100-SXM4-40GB": _A100,
    "NVIDIA A100 80GB PCIe": _A100,
    "NVIDIA A100-PCIE-40GB": _A100,
    "NVIDIA L40S": Peak(
        "NVIDIA L40S datasheet, 2023",
        bfloat16=362.05,
        float16=362.05,
        tfloat32=183,
        float32=91.6,
        float8=733,
    ),
    "NVIDIA L4": Peak(
        "NVIDIA L4 Tensor Core GPU datasheet, 2023; tensor rates halved",
        bfloat16=121,
        float16=121,
        tfloat32=60,
        float32=30.3,
        float8=242.5,
    ),
    "NVIDIA A10": Peak(
        "NVIDIA A10 Tensor Core GPU datasheet, 2021",
        bfloat16=125,
        float16=125,
        tfloat32=62.5,
        float32=31.2,
    ),
    "NVIDIA A10G": Peak(
        "NVIDIA A10G datasheet for Amazon EC2 G5, 2021",
        bfloat16=70,
        float16=70,
        tfloat32=35,
        float32=35,
    ),
    "NVIDIA GeForce RTX 4090": Peak(
        "NVIDIA Ada GPU Architecture whitepaper, 2022; rates with float32 accumulation",
        bfloat16=165.2,
        float16=165.2,
        tfloat32=82.6,
        float32=82.6,
        float8=330.3,
    ),
    "NVIDIA GeForce RTX 3090": Peak(
        "NVIDIA Ampere GA102 GPU Architecture whitepaper, 2020; rates with float32 accumulation",
        bfloat16=71,
        float16=71,
        tfloat32=35.6,
        float32=35.6,
    ),
    "Tesla V100-SXM2-32GB": _V100_SXM2,
    "Tesla V100-SXM2-16GB": _V100_SXM2,
    "Tesla V100-PCIE-32GB": _V100_PCIE,
    "Tesla V100-PCIE-16GB": _V100_PCIE,
    "Tesla T4": Peak(
        "NVIDIA T4 Tensor Core GPU datasheet, 2019",
        bfloat16=None,
        float16=65,
        tfloat32=None,
        float32=8.1,
    ),
    "AMD Instinct MI300X": Peak(
        "AMD Instinct MI300X accelerator data sheet, 2023",
        bfloat16=1307.4,
        float16=1307.4,
        tfloat32=653.7,
        float32=163.4,
        float8=2614.9,
    ),
}
"""By the exact name that `torch.cuda.get_device_name` gives; a slice of a device (MIG) has its own
name and is not here."""


def device_peak(device: torch.device, dtype: torch.dtype) -> float | None:
    """Gives the dense rate of a CUDA device in FLOP/s; None where it is not known, never a guess.

    Args:
        device: Of another kind than CUDA, it has no rate here.
        dtype: What the run multiplies; float32 is rounded to TF32 on the way if torch is set so.
    """
    if device.type != "cuda":
        return None
    tf32 = dtype == torch.float32 and torch.backends.cuda.matmul.fp32_precision == "tf32"
    number_format = "tfloat32" if tf32 else str(dtype).removeprefix("torch.")
    return peak_of(torch.cuda.get_device_name(device), number_format)


def peak_of(device_name: str, number_format: str) -> float | None:
    """Gives the dense rate of a device by its name, in FLOP/s; None where it is not known.

    Args:
        device_name: As `torch.cuda.get_device_name` gives it.
        number_format: `bfloat16`, `float16`, `tfloat32`, `float32` or `float8`.
    """
    peak = PEAKS.get(device_name)
    rate = getattr(peak, number_format, None)
    return None if rate is None else rate * 1e12


@cache
def measured_peak(dtype: torch.dtype) -> float:
    """Measures the rate of a matrix product on this process's threads, once, in FLOP/s.

    The best of a few products of 1024 x 1024 matrices: on two cores, larger ones were no faster.
    It takes about 0.2 s.
    """
    return best_rate(dtype, size=1024, seconds=0.15)


def best_rate(
    dtype: torch.dtype,
    *,
    size: int,
    seconds: float,
    now: Callable[[], float] = time.perf_counter,
) -> float:
    """Gives the best rate of square matrix products on the CPU, in FLOP/s.

    Args:
        dtype: What is multiplied.
        size: Rows and columns.
        seconds: How long to try; there are at least three products, the first not counted.
        now: The clock, in seconds.
    """
    left, right = torch.ones(2, size, size, dtype=dtype)
    began, fastest, done = now(), float("inf"), 0
    while done < 3 or now() - began < seconds:
        before = now()
        torch.mm(left, right)
        if done:
            fastest = min(fastest, now() - before)
        done += 1
    return float(2 * size**3 / max(fastest, 1e-9))
