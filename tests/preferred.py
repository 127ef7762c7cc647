"""Tiny preferences, and the run file of a tiny preference optimisation."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tiny_chat import turns
from tiny_tasks import sentence, task_config, write_jsonl


def preferences(n: int, seed: int) -> list[dict[str, Any]]:
    """Pairs of answers of unlike lengths, behind one to three exchanges, in every form."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(n):
        prompt = turns(*(sentence(rng) for _ in range(2 * rng.randint(1, 3) - 1)))
        good, bad = f"{sentence(rng)} yes", f"no {sentence(rng)} {sentence(rng)}"
        chosen, rejected = ([{"role": "assistant", "content": text}] for text in (good, bad))
        forms: list[dict[str, Any]] = [
            {"prompt": prompt, "chosen": chosen, "rejected": rejected},
            {"chosen": [*prompt, *chosen], "rejected": [*prompt, *rejected]},
            {"prompt": prompt[-1]["content"], "chosen": good, "rejected": bad},
        ]
        rows.append(forms[number % 3])
    return rows


def preference_config(
    network: Path, folder: Path, rows: list[dict[str, Any]], **data: Any
) -> dict[str, Any]:
    """8 pairs a step, the last 9 for validation."""
    arguments = {
        "train": str(write_jsonl(folder / "train.jsonl", rows[:-9])),
        "val": str(write_jsonl(folder / "val.jsonl", rows[-9:])),
        "sequences_per_step": 8,
        "seq_len": 128,
        **data,
    }
    spec = {"class_path": "roots.data.Preferences", "init_args": arguments}
    return task_config("PreferenceLM", spec, network, folder / "runs")
