"""The run file of a tiny run, and the words of its text."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

WORDS = "the a cat dog sat ran on under mat tree and then it was said that in of to she he".split()  # noqa: SIM905

LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}


def tiny_config(shards: Path, runs: Path, **trainer: Any) -> dict[str, Any]:
    """The run file of a tiny run: 8 sequences of 16 tokens a step."""
    network = {"class_path": "roots.networks.Scratch", "init_args": {"config": LLAMA}}
    optimizer = {"class_path": "roots.optim.AdamW", "init_args": {"learning_rate": 3e-3}}
    schedule = {"class_path": "roots.optim.WarmupCosine", "init_args": {"warmup_steps": 2}}
    settings = {
        "max_steps": 6,
        "val_every_steps": 3,
        "log_every_steps": 1,
        "precision": "32",
        "accelerator": "cpu",
        "runs_dir": str(runs),
        "progress": False,
    }
    return {
        "name": "tiny",
        "seed": 1,
        "model": {
            "class_path": "roots.modules.CausalLM",
            "init_args": {
                "network": network,
                "optimizer": optimizer,
                "schedule": schedule,
                "micro_batch_size": 4,
            },
        },
        "data": {
            "class_path": "roots.data.TokenCorpus",
            "init_args": {"shards": str(shards), "seq_len": 16, "sequences_per_step": 8},
        },
        "trainer": {**settings, **trainer},
    }


def without_pages(patch: pytest.MonkeyPatch) -> None:
    """Lets fits draw nothing: a page costs a second, its loss alone more than the tiny fit."""
    nothing = SimpleNamespace(report_run=lambda run: None)
    patch.setattr("roots.callbacks.recorder.run_page", nothing)
    patch.setattr("roots.callbacks.recorder.draw_corpora", lambda trainer: None)
