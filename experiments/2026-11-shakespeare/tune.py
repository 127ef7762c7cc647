"""Chooses the settings of shakespeare_fast.yaml on a part of the training text.

The text is cut to nanoGPT's training part (its first 90 %) before anything reads it; the last tenth
of that is what a candidate is judged by. So the validation text cannot have a say.

    ROOTS_DATA=~/data python experiments/2026-11-shakespeare/tune.py --work tuning [NAME …]

Each candidate is a change to `BASE`; its loss per character, steps, and processor time are appended
to tuning.jsonl in the folder of this script. Candidates that are there already are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import torch

from roots.fit import compose
from roots.fit.run_files import merge, read_run_files

HERE = Path(__file__).parent
CONFIGS = HERE.parents[1] / "configs" / "run"
LOG = HERE / "tuning.jsonl"


def llama(layers: int, width: int, inner: int, heads: int = 4, **keys: Any) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
        **keys,
    }


def candidate(
    network: dict[str, Any],
    steps: int,
    rows: int,
    rate: float,
    *,
    schedule: str = "WarmupLinear",
    warmup: int = 50,
    optimizer: dict[str, Any] | None = None,
    **model: Any,
) -> dict[str, Any]:
    adamw = {
        "class_path": "roots.optim.AdamW",
        "init_args": {"learning_rate": rate, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99},
    }
    return {
        "model": {
            "class_path": "roots.modules.CausalLM",
            "init_args": {
                "network": {
                    "class_path": "roots.networks.Scratch",
                    "init_args": {"config": network},
                },
                "optimizer": merge(adamw, optimizer or {}),
                "schedule": {
                    "class_path": f"roots.optim.{schedule}",
                    "init_args": {"warmup_steps": warmup},
                },
                "micro_batch_size": 128,
                **model,
            },
        },
        "data": {"init_args": {"sequences_per_step": rows}},
        "trainer": {"max_steps": steps},
    }


def muon(rate: float, rest: float, **settings: Any) -> dict[str, Any]:
    arguments = {"learning_rate": rate, "adamw_learning_rate": rest, "momentum": 0.95, **settings}
    return {"class_path": "roots.optim.Muon", "init_args": arguments}


GPT2 = {
    "model_type": "gpt2",
    "n_layer": 4,
    "n_head": 4,
    "n_embd": 128,
    "n_positions": 64,
    "activation_function": "gelu",
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "resid_pdrop": 0.0,
}
L4, L3, L2 = llama(4, 128, 344), llama(3, 128, 344), llama(2, 128, 344)

CANDIDATES: dict[str, dict[str, Any]] = {
    "gpt2-nanogpt": candidate(GPT2, 2000, 12, 1e-3, schedule="WarmupCosine", warmup=100),
    "gpt2-600-3e-3": candidate(GPT2, 600, 12, 3e-3),
    "l4-600-4e-3": candidate(L4, 600, 12, 4e-3),
    "l4-600-8e-3": candidate(L4, 600, 12, 8e-3),
    "l2-600-8e-3": candidate(L2, 600, 12, 8e-3),
    "l3-600-6e-3": candidate(L3, 600, 12, 6e-3),
    "l4-600-3e-3": candidate(L4, 600, 12, 3e-3),
    "l4-400-muon-6e-3": candidate(L4, 400, 12, 0, optimizer=muon(6e-3, 4e-3)),
    "l4-400-muon-12e-3": candidate(L4, 400, 12, 0, optimizer=muon(12e-3, 4e-3)),
    "l4-300-24-4e-3": candidate(L4, 300, 24, 4e-3, warmup=30),
    "l4-200-muon-12e-3": candidate(L4, 200, 12, 0, warmup=20, optimizer=muon(12e-3, 4e-3)),
    "l3-250-muon-12e-3": candidate(L3, 250, 12, 0, warmup=20, optimizer=muon(12e-3, 4e-3)),
    "l4-300-muon-6e-3": candidate(L4, 300, 12, 0, warmup=20, optimizer=muon(6e-3, 4e-3)),
    "l4-300-muon-8e-3-6e-3": candidate(L4, 300, 12, 0, warmup=20, optimizer=muon(8e-3, 6e-3)),
    "l4-150-24-muon-8e-3": candidate(L4, 150, 24, 0, warmup=15, optimizer=muon(8e-3, 6e-3)),
    "gpt2-300-muon-6e-3": candidate(GPT2, 300, 12, 0, warmup=20, optimizer=muon(6e-3, 4e-3)),
}


def prepare(work: Path) -> Path:
    """Writes nanoGPT's training part of the text into a folder of its own."""
    text = (Path(os.environ["ROOTS_DATA"]) / "tinyshakespeare.txt").read_text(encoding="utf-8")
    work.mkdir(parents=True, exist_ok=True)
    (work / "tinyshakespeare.txt").write_text(text[: int(len(text) * 0.9)], encoding="utf-8")
    return work


def measure(name: str, work: Path, seed: int) -> dict[str, Any]:
    base = read_run_files([CONFIGS / "shakespeare_fast.yaml"])
    base.pop("model")
    text_only = {
        "data": {
            "init_args": {
                "shards": {
                    "init_args": {
                        "source": {"init_args": {"paths": [str(work / "tinyshakespeare.txt")]}},
                        "out": str(work / "shards"),
                    }
                },
                "max_val_sequences": 800,
            }
        },
        "trainer": {"val_every_steps": 0, "progress": False, "runs_dir": str(work / "runs")},
        "seed": seed,
    }
    run = compose(merge(merge(base, CANDIDATES[name]), text_only))
    began = time.process_time()
    run.fit()
    seconds = time.process_time() - began
    network = run.model.trainable.network
    return {
        "name": name,
        "seed": seed,
        "steps": run.trainer.max_steps,
        "characters": run.trainer.tokens_seen,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "dev_nats": round(run.trainer.latest["val/nats_per_token"], 4),
        "cpu_seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="candidates; all of them without a name")
    parser.add_argument("--work", type=Path, default=Path("tuning"), help="a folder to write to")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    work = prepare(arguments.work)
    lines = LOG.read_text().splitlines() if LOG.exists() else []
    done = {(each["name"], each["seed"]) for each in map(json.loads, lines)}
    for name in arguments.names or CANDIDATES:
        if (name, arguments.seed) not in done:
            row = json.dumps(measure(name, work, arguments.seed))
            print(row, flush=True)
            with LOG.open("a") as log:
                log.write(row + "\n")


if __name__ == "__main__":
    main()
