"""Tiny preferences, and the run file of a tiny preference optimisation."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from tiny_chat import turns
from tiny_tasks import sentence, task_config, write_jsonl
from transformers import AutoModelForCausalLM

from roots.batch import IGNORE

NAMES = (
    "train/loss",
    "train/accuracy",
    "train/margin",
    "train/chosen_reward",
    "train/rejected_reward",
    "train/chosen_nats",
    "optim/grad_norm",
    "val/loss",
    "val/accuracy",
    "val/margin",
    "val/chosen_reward",
    "val/rejected_reward",
    "val/chosen_nats",
)
"""What is logged of them."""
LORA = {"class_path": "roots.networks.LoRA", "init_args": {"rank": 4, "dropout": 0.2}}


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


def adapted(config: dict[str, Any], **settings: Any) -> dict[str, Any]:
    adapter = {**LORA, "init_args": {**LORA["init_args"], **settings}}
    config["model"]["init_args"]["network"]["init_args"]["adapter"] = adapter
    return config


def log_probs(folder: Path, split: Any, pair: int) -> list[float]:
    """What transformers' network in a folder says of both answers of a pair, in float64."""
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    found = []
    for row in (2 * pair, 2 * pair + 1):
        ids, labels = (
            torch.from_numpy(each[row].astype("int64")) for each in (split.input_ids, split.labels)
        )
        with torch.no_grad():
            log_p = theirs(input_ids=ids[None]).logits[0].log_softmax(-1)
        there = labels != IGNORE
        found.append(float(log_p[there, labels[there]].sum()))
    return found
