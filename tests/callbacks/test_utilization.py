"""The share of the peak: operations per second over what the devices could do."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from tiny import tiny_config

import roots.callbacks.utilization as room
from roots.callbacks.utilization import Utilization, share_in_words
from roots.fit import compose
from roots.fit.compose import resumed
from roots.networks import count_flops
from roots.precision import measured_peak
from roots.runs import Run

CPU_SHARE = "train/fraction_of_matmul_peak"


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.metrics_file.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run on the CPU, with its objects."""
    composed = compose(tiny_config(shards, tmp_path_factory.mktemp("runs"), max_steps=4))
    composed.fit()
    return composed


def test_every_logged_step_of_a_cpu_run_has_the_share_of_its_rate(trained: Any) -> None:
    flops = count_flops(trained.model.trainable.network, seq_len=16).per_trained_token
    rows = [row for row in rows_of(trained.trainer.run) if row["train/loss"]]
    assert len(rows) == 4
    for row in rows:
        share, rate = float(row[CPU_SHARE]), float(row["train/tokens_per_second"])
        assert share == pytest.approx(rate * flops / measured_peak(torch.float32), rel=1e-9)
        assert 0 < share < 1.5
    assert "train/mfu" not in rows[0]


def test_the_peak_is_measured_in_the_format_of_the_run(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.dtype] = []
    monkeypatch.setattr(room, "measured_peak", lambda dtype: asked.append(dtype) or 1e12)
    for precision in ("32", "bf16-mixed"):
        compose(config, {"trainer.max_steps": 3, "trainer.precision": precision}).fit()
    assert asked == [torch.float32, torch.bfloat16]  # once for each run, before its first step


def test_a_resumed_run_goes_on_with_the_share(config: dict[str, Any]) -> None:
    run = compose(config, {"trainer.max_steps": 4}).fit()
    again, _ = resumed(str(run.path), {}, ["--trainer.max_steps=6"])
    again.fit()
    shares = [row[CPU_SHARE] for row in rows_of(run) if row["train/loss"]]
    assert len(shares) == 6
    assert all(shares)


def on_gpu(monkeypatch: pytest.MonkeyPatch, name: str) -> Any:
    """The trainer of a run in bfloat16 on two of these, as far as the share asks it."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)

    class Strategy:
        root_device = torch.device("cuda", 0)
        hides_weights = False

    class Precision:
        products = torch.bfloat16

    class Data:
        seq_len, lengths, same_lengths, labelled_fraction = 16, (16,), True, 1.0

        def read_per_token(self, _: int) -> float:
            return 1.0

    class Trainer:
        strategy, precision_plugin, datamodule, world_size = Strategy(), Precision(), Data(), 2

    return Trainer()


def test_on_gpus_of_the_table_it_is_the_mfu_of_all_ranks(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = on_gpu(monkeypatch, "NVIDIA H100 80GB HBM3")
    found = room.utilization_of(trainer, trained.model)
    flops = count_flops(trained.model.trainable.network, seq_len=16).per_trained_token
    assert found.metrics(1e6, {16: 9}) == {"train/mfu": pytest.approx(1e6 * flops / (2 * 989.4e12))}


def test_on_a_gpu_that_is_not_in_the_table_there_is_none(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = room.utilization_of(on_gpu(monkeypatch, "NVIDIA Nobody"), trained.model)
    assert found.metrics(1e6, {16: 9}) == {}


def test_a_network_that_is_not_understood_has_none(config: dict[str, Any]) -> None:
    network = {"model_type": "diffllama", "hidden_size": 32, "intermediate_size": 64}
    network |= {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64}
    config["model"]["init_args"]["network"]["init_args"]["config"] = network
    run = compose(config, {"trainer.max_steps": 3}).fit()
    assert all(CPU_SHARE not in row for row in rows_of(run))


def _peak_of_two(config: dict[str, Any]) -> tuple[float, float, float]:
    composed = compose(config, {"trainer.devices": 2, "trainer.strategy": "ddp"})
    composed.fit()
    latest = composed.trainer.latest
    share, rate = latest[CPU_SHARE], latest["train/tokens_per_second"]
    flops = count_flops(composed.model.trainable.network, seq_len=16).per_trained_token
    return share, rate * flops, measured_peak(torch.float32)


def test_two_ranks_on_cpus_have_the_sum_of_what_each_reaches(config: dict[str, Any]) -> None:
    config["trainer"]["max_steps"] = 3
    answers = run_ranks(_peak_of_two, config)
    total = sum(peak for _, _, peak in answers)
    for share, flops_per_second, _ in answers:
        assert share == pytest.approx(flops_per_second / total, rel=1e-9)


def test_a_person_reads_the_share_at_the_median_rate() -> None:
    rates = {"train/tokens_per_second": 100.0, "train/tokens_per_second_median": 200.0}
    assert share_in_words({**rates, "train/mfu": 0.21}) == "42.0% MFU"
    assert share_in_words({**rates, CPU_SHARE: 0.1}) == "20.0% of the matmul peak"
    assert share_in_words(rates) == ""


def test_nothing_is_reported_of_what_is_not_known() -> None:
    assert Utilization().metrics(1e6, {16: 9}) == {}
    assert Utilization("train/mfu", {16: 2.0}, 8.0).metrics(3.0, {16: 9}) == {"train/mfu": 0.75}
    both = Utilization("train/mfu", {8: 1.0, 16: 2.0}, 8.0).metrics(4.0, {8: 30, 16: 10})
    assert both == {"train/mfu": (30 * 1.0 + 10 * 2.0) / 40 * 4.0 / 8.0}
