"""Sweep files whose trials take no time, and processes that run them."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

import yaml

from roots.sweeps import Sweep, read_sweep

STAND_IN = str(Path(__file__).with_name("stand_in.py"))
RATE = "model.optimizer.init_args.learning_rate"
ROWS = "data.sequences_per_step"
FOUR = {RATE: {"values": [0.1, 0.01, 0.001, 1e-4]}}


def write(file: Path, **changes: Any) -> Path:
    content = {
        "config": "run.yaml",
        "method": "grid",
        "metric": {"name": "val/loss"},
        "command": ["${interpreter}", STAND_IN, "${args}"],
        "parameters": {RATE: {"values": [0.1, 0.01, 0.001, 1e-4]}, ROWS: {"values": [8, 16]}},
        **changes,
    }
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def sweep_of(file: Path) -> Sweep:
    return read_sweep(file, sweeps_dir=file.parent / "sweeps")


def starts(sweep: Sweep, trial: int, ending: str = "") -> list[int]:
    """From which steps a fit of a trial was started."""
    assert sweep.folder is not None
    lines = (sweep.folder / f"trials/trial-{trial:04d}{ending}/0001/starts").read_text().split()
    return [int(line) for line in lines]


def started(file: Path) -> Any:
    """A process with a sweep of its own."""

    def work() -> None:
        sweep_of(file).run(workers=2, say=lambda line: None)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def wait_for(file: Path, process: Any) -> None:
    end = time.monotonic() + 60
    while not file.exists():
        assert process.is_alive()
        assert time.monotonic() < end, "it did not come to this"
        time.sleep(0.02)
