"""Run directories made by hand: what a fit would leave, without a fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from roots.runs import Run


def make_run(
    folder: Path,
    *,
    losses: list[float] | None = None,
    val: dict[int, float] | None = None,
    state: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    seed: int = 1,
    fingerprint: str = "f" * 64,
    rate: float = 1000.0,
    **environment: Any,
) -> Run:
    """Makes a run of as many steps as there are losses, with 100 tokens a step."""
    folder.mkdir(parents=True)
    losses = [3.0, 2.0, 1.5, 1.25] if losses is None else losses
    run = Run(folder)
    run.config_file.write_text(yaml.safe_dump(config or a_config(seed=seed, steps=len(losses))))
    told = an_environment(fingerprint) | environment
    (folder / "environment.json").write_text(json.dumps(told))
    ended = {"state": "finished", "step": len(losses), "max_steps": len(losses)}
    times = {"started": 1000.0, "since": 1000.0, "seconds": 60.0, "why": ""}
    (folder / "state.json").write_text(json.dumps({**ended, **times, **(state or {})}))
    run.metrics_file.write_text(metrics_text(losses, val or {len(losses): losses[-1]}, rate))
    return run


def metrics_text(losses: list[float], val: dict[int, float], rate: float = 1000.0) -> str:
    """The text of a metrics file."""
    lines = ["step,train/loss,train/tokens_per_second,train/tokens_seen,val/loss"]
    for step, loss in enumerate(losses, 1):
        lines.append(f"{step},{loss!r},{rate!r},{100.0 * step},{val.get(step, '')}")
    return "\n".join(lines) + "\n"


def a_config(*, seed: int = 1, steps: int = 4, lr: float = 1e-3, module: str = "CausalLM") -> dict:
    """A resolved configuration, as far as it is looked at."""
    optimizer = {"class_path": "roots.optim.AdamW", "init_args": {"learning_rate": lr}}
    arguments = {"optimizer": optimizer, "micro_batch_size": 4}
    model = {"class_path": f"roots.modules.{module}", "init_args": arguments}
    data = {"class_path": "roots.data.TokenCorpus", "init_args": {"seq_len": 16}}
    trainer = {"max_steps": steps, "monitor": "val/loss", "monitor_mode": "min"}
    return {"name": "tiny", "seed": seed, "model": model, "data": data, "trainer": trainer}


def an_environment(fingerprint: str) -> dict[str, Any]:
    """What a run ran on."""
    return {
        "python": "3.11.7",
        "packages": {"torch": "2.13.0"},
        "hardware": {"device": "cpu", "ranks": 1},
        "code": {"commit": "a" * 40, "changed": False},
        "data": {"path": "corpora/tiny", "fingerprint": fingerprint},
    }
