"""Peak rates: vendors' figures against the arithmetic of their chips, and the measured one."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from roots.precision import PEAKS, device_peak, measured_peak, peak_of
from roots.precision.peaks import best_rate

FORMATS = ("bfloat16", "float16", "tfloat32", "float32", "float8")
CUDA = torch.device("cuda", 0)

CHIPS: dict[str, tuple[int, int, float]] = {
    "NVIDIA H200": (132, 4096, 1.83),
    "NVIDIA GH200 480GB": (132, 4096, 1.83),
    "NVIDIA H100 80GB HBM3": (132, 4096, 1.83),
    "NVIDIA H100 PCIe": (114, 4096, 1.62),
    "NVIDIA A100-SXM4-80GB": (108, 2048, 1.41),
    "NVIDIA A100-SXM4-40GB": (108, 2048, 1.41),
    "NVIDIA A100 80GB PCIe": (108, 2048, 1.41),
    "NVIDIA A100-PCIE-40GB": (108, 2048, 1.41),
    "NVIDIA L40S": (142, 1024, 2.52),
    "NVIDIA L4": (58, 1024, 2.04),
    "NVIDIA A10": (72, 1024, 1.695),
    "NVIDIA A10G": (80, 512, 1.71),
    "NVIDIA GeForce RTX 4090": (128, 512, 2.52),
    "NVIDIA GeForce RTX 3090": (82, 512, 1.695),
    "Tesla V100-SXM2-32GB": (80, 1024, 1.53),
    "Tesla V100-SXM2-16GB": (80, 1024, 1.53),
    "Tesla V100-PCIE-32GB": (80, 1024, 1.38),
    "Tesla V100-PCIE-16GB": (80, 1024, 1.38),
    "Tesla T4": (40, 1024, 1.59),
    "AMD Instinct MI300X": (304, 2048, 2.1),
}
"""Multiprocessors, dense 16-bit operations per clock of each, and boost clock in GHz."""

WITH_SPARSITY = {
    "NVIDIA B200": (4500, 9000),
    "NVIDIA H200": (1979, 3958),
    "NVIDIA H200 NVL": (1671, 3341),
    "NVIDIA GH200 480GB": (1979, 3958),
    "NVIDIA H100 80GB HBM3": (1979, 3958),
    "NVIDIA H100 PCIe": (1513, 3026),
    "NVIDIA H100 NVL": (1671, 3341),
    "NVIDIA L40S": (733, 1466),
    "NVIDIA L4": (242, 485),
    "AMD Instinct MI300X": (2614.9, 5229.8),
}
"""What the vendors print with sparsity, in TFLOP/s, for 16-bit and 8-bit products."""


@pytest.mark.parametrize("name", CHIPS)
def test_the_16_bit_rate_is_what_the_chip_can_do_in_a_second(name: str) -> None:
    n, per_clock, ghz = CHIPS[name]
    assert peak_of(name, "float16") == pytest.approx(n * per_clock * ghz * 1e9, rel=0.02)


@pytest.mark.parametrize("name", WITH_SPARSITY)
def test_no_figure_is_the_doubled_one_of_sparse_matrices(name: str) -> None:
    sparse16, sparse8 = WITH_SPARSITY[name]
    for number_format, sparse in (("bfloat16", sparse16), ("float16", sparse16)):
        assert peak_of(name, number_format) == pytest.approx(sparse / 2 * 1e12, rel=0.02)
    assert peak_of(name, "float8") == pytest.approx(sparse8 / 2 * 1e12, rel=0.02)


@pytest.mark.parametrize("name", PEAKS)
def test_every_row_has_a_dated_source_of_its_vendor_and_rates_that_fit_together(name: str) -> None:
    peak = PEAKS[name]
    vendor = "AMD" if name.startswith("AMD") else "NVIDIA"
    assert re.fullmatch(rf"{vendor} .*, 20\d\d(; .*)?", peak.source)
    assert [f.name for f in dataclasses.fields(peak)] == ["source", *FORMATS]
    narrow, tf32 = peak.float16, peak.tfloat32
    assert narrow is not None
    assert peak.bfloat16 in (None, narrow)
    assert peak.float32 < narrow
    assert tf32 is None or tf32 == pytest.approx(narrow / 2, rel=0.03)
    assert peak.float8 is None or peak.float8 == pytest.approx(2 * narrow, rel=0.03)


def test_h100_and_h200_are_there_under_the_names_that_torch_gives() -> None:
    assert peak_of("NVIDIA H100 80GB HBM3", "bfloat16") == pytest.approx(989.4e12)
    assert peak_of("NVIDIA H200", "bfloat16") == pytest.approx(989.5e12)
    assert peak_of("NVIDIA H100 PCIe", "bfloat16") == pytest.approx(756e12)


@pytest.mark.parametrize(
    "name", ["", "H100", "nvidia h100 pcie", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA GB10"]
)
def test_a_name_that_is_not_there_has_no_rate(name: str) -> None:
    assert peak_of(name, "bfloat16") is None


def test_a_device_without_units_for_a_format_has_no_rate() -> None:
    assert peak_of("Tesla V100-SXM2-32GB", "bfloat16") is None
    assert peak_of("NVIDIA A100-SXM4-80GB", "float8") is None
    assert peak_of("NVIDIA A100-SXM4-80GB", "int3") is None


def test_the_number_format_of_the_run_decides_the_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    assert device_peak(CUDA, torch.bfloat16) == pytest.approx(989.4e12)
    assert device_peak(CUDA, torch.float32) == pytest.approx(66.9e12)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        assert device_peak(CUDA, torch.float32) == pytest.approx(494.7e12)
    finally:
        torch.set_float32_matmul_precision(before)
    assert device_peak(torch.device("mps"), torch.float32) is None
    assert device_peak(torch.device("cpu"), torch.float32) is None


def test_the_best_of_the_products_counts_and_the_first_does_not() -> None:
    """Products of 1 (warm-up), 4, 2 and 8 seconds; the clock is read around each."""
    times = iter([0.0, 0, 1, 5, 5, 7, 7, 7, 15, 15])
    starts: list[float] = []

    class Clock:
        def __call__(self) -> float:
            starts.append(next(times))
            return starts[-1]

    # began | start | start, end | start, end | still time? start, end | over
    rate = best_rate(torch.float32, size=16, seconds=10, now=Clock())
    assert rate == 2 * 16**3 / 2
    assert len(starts) == 10


def test_the_measured_peak_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = measured_peak(torch.float32)
    monkeypatch.setattr(torch, "mm", None)
    assert measured_peak(torch.float32) == first
    assert 1e8 < first < 1e15
