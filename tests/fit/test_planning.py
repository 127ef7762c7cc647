"""`roots plan`, for devices that are not here, and `fit --dry-run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import tiny_config

from roots.cli import run
from roots.errors import ConfigError
from roots.networks import count_flops
from roots.precision import PEAKS


@pytest.fixture
def file(shards: Path, tmp_path: Path) -> str:
    path = tmp_path / "run.yaml"
    config = tiny_config(shards, tmp_path / "runs", precision="auto", strategy="auto")
    path.write_text(yaml.safe_dump(config))
    return str(path)


def lines_of(text: str) -> dict[str, str]:
    found = (line.strip().split("  ", 1) for line in text.splitlines() if line.startswith("  "))
    return {parts[0]: parts[1].strip() for parts in found if len(parts) == 2}


def test_a_run_is_planned_for_devices_that_are_not_here(
    file: str, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    asked = ["--gpu", "H100-80GB", "--gpus", "4", "--nodes", "2", "--mfu", "0.5"]
    assert run(["plan", "--config", file, *asked]) == 0
    text = capsys.readouterr().out
    lines = lines_of(text)
    name = "NVIDIA H100 80GB HBM3"
    assert lines["computes"].startswith(f"4 x {name} on 2 machines, bf16-mixed: ")
    assert lines["step"].endswith("in 1 forward pass of 2 on each of 4 ranks")
    assert f"50% MFU are reached (4 x {name}, 989.4 TFLOP/s dense)" in lines["time"]
    assert lines["memory"].startswith("ddp, micro-batches of 2: ")
    assert lines["memory"].endswith(f"fits into 72.0 GiB of {name}")
    ways = [line.split("  ")[1].strip() for line in text.splitlines() if line.startswith("  ")]
    assert {"ddp", "hsdp", "fsdp", "fsdp, activation_checkpointing full"} <= set(ways)
    assert text.splitlines()[-1] == "best: ddp, micro_batch_size 2"
    assert not (tmp_path / "runs").exists()


def test_the_speed_is_the_peaks_share_over_the_operations_of_a_token(
    file: str, capsys: pytest.CaptureFixture
) -> None:
    from roots.fit import compose

    run(["plan", "--config", file, "--gpu", "A100-40", "--gpus", "2", "--mfu", "0.25"])
    told = lines_of(capsys.readouterr().out)["speed"]
    model = compose(yaml.safe_load(Path(file).read_text())).model
    peak = PEAKS["NVIDIA A100-SXM4-40GB"].bfloat16
    assert peak is not None
    per_token = _with_300_tokens(model)
    assert told == f"{0.25 * 2 * peak * 1e12 / per_token:,.0f} tokens/s at 25% MFU"


def _with_300_tokens(model: Any) -> float:
    from roots.records import Vocabulary

    vocabulary = Vocabulary(size=300, eos_id=0, bos_id=None, pad_id=0)
    network = model.builder.empty(model.builder.network_config(vocabulary), model.head)
    return count_flops(network, seq_len=16).per_trained_token


def test_auto_takes_the_precision_that_the_device_has_units_for(
    file: str, capsys: pytest.CaptureFixture
) -> None:
    run(["plan", "--config", file, "--gpu", "T4"])
    assert ", 32-true: float32" in lines_of(capsys.readouterr().out)["computes"]


def test_a_dry_run_tells_the_memory_and_the_ways(file: str, capsys: pytest.CaptureFixture) -> None:
    run(["fit", "--config", file, "--dry-run"])
    text = capsys.readouterr().out
    assert lines_of(text)["memory"].startswith("single_device, micro-batches of 4: ")
    assert "best: single_device, micro_batch_size 8" in text


def test_a_size_that_is_left_open_is_told(file: str, capsys: pytest.CaptureFixture) -> None:
    flags = ["--model.micro_batch_size", "auto"]
    run(["plan", "--config", file, "--gpu", "H200", *flags])
    lines = lines_of(capsys.readouterr().out)
    assert "in forward passes of as many rows as fit" in lines["step"]
    assert lines["memory"].startswith("single_device, micro-batches of 8 (planned: ")


def test_what_cannot_be_run_without_numbers_is_said(
    file: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roots.plan import footprint
    from roots.plan.activations import Unknown

    def cannot(*_: Any) -> Any:
        raise Unknown("it routes")

    monkeypatch.setattr(footprint, "passage", cannot)
    run(["plan", "--config", file, "--gpu", "H200"])
    text = capsys.readouterr().out
    assert lines_of(text)["memory"] == "not known: it routes"
    assert "best:" not in text


@pytest.mark.parametrize(
    ("asked", "words", "cure"),
    [
        (["--gpus", "4"], r"--gpu H100-80GB", ["--gpu", "H100-80GB", "--gpus", "4"]),
        (["--gpu", "L4", "--mfu", "40"], r"--mfu 40 is no share", ["--gpu", "L4", "--mfu", "0.4"]),
        (["--gpu", "L4", "--gpus", "0"], r"--gpus 0 is no", ["--gpu", "L4", "--gpus", "1"]),
        (
            ["--gpu", "L4", "--gpus", "3", "--nodes", "2"],
            r"--gpus 3 .*--nodes 2.* 4 would be 2 in each",
            ["--gpu", "L4", "--gpus", "4", "--nodes", "2"],
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_can(
    file: str, asked: list[str], words: str, cure: list[str]
) -> None:
    with pytest.raises(ConfigError, match=words):
        run(["plan", "--config", file, *asked])
    assert run(["plan", "--config", file, *cure]) == 0


@pytest.mark.parametrize(
    ("strategy", "gpus", "words"),
    [
        ("tensor_parallel", 8, ""),
        ({"replicas": 2}, 8, ""),
        ({"replicas": 2}, 1, r"replicas=2 .* share 1 ranks evenly"),
        ({"replicas": 4}, 6, r"replicas=4 .* share 6 ranks evenly"),
        ("tensor_parallel", 1, r"tensor_parallel=2: .* where there are 1\..* or change --gpus"),
    ],
)
def test_copies_and_shared_layers_are_those_of_the_devices_that_are_planned_for(
    shards: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    strategy: Any,
    gpus: int,
    words: str,
) -> None:
    chosen = strategy
    if isinstance(strategy, dict):
        chosen = {"class_path": "roots.strategies.FSDP", "init_args": strategy}
    config = tiny_config(shards, tmp_path / "runs", devices=8, strategy=chosen)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    for here in (8, 1):
        asked = ["plan", "--config", str(tmp_path / "run.yaml"), "--trainer.devices", str(here)]
        asked += ["--gpu", "H100-80GB", "--gpus", str(gpus)]
        if words:
            with pytest.raises(ConfigError, match=words):
                run(asked)
        else:
            assert run(asked) == 0
            assert "memory" in lines_of(capsys.readouterr().out)
