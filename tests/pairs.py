"""A tiny set of pairs (the same words in capitals, in the other order) and a tiny run on it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from tiny import WORDS
from transformers import AutoConfig, AutoModelForSeq2SeqLM

NETWORKS: dict[str, dict[str, Any]] = {
    "t5": {
        "model_type": "t5",
        "d_model": 32,
        "d_kv": 16,
        "d_ff": 48,
        "num_layers": 1,
        "num_heads": 2,
        "dropout_rate": 0.0,
    },
    "bart": {
        "model_type": "bart",
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "max_position_embeddings": 32,
        "dropout": 0.0,
    },
}
NETWORKS["t5 untied"] = {**NETWORKS["t5"], "tie_word_embeddings": False}
NETWORKS["mt5"] = {**NETWORKS["t5"], "model_type": "mt5"}
for _kind in ("marian", "pegasus", "mbart", "plbart", "m2m_100"):
    NETWORKS[_kind] = {**NETWORKS["bart"], "model_type": _kind}


def write_pairs(folder: Path, *, train: int = 48, val: int = 12) -> Path:
    """Writes train.en, train.de, val.en and val.de into a folder."""
    rng = random.Random(3)
    for name, rows in (("train", train), ("val", val)):
        sources = [[rng.choice(WORDS) for _ in range(rng.randint(1, 6))] for _ in range(rows)]
        targets = [[word.capitalize() for word in reversed(words)] for words in sources]
        for ending, lines in (("en", sources), ("de", targets)):
            text = "".join(" ".join(line) + "\n" for line in lines)
            (folder / f"{name}.{ending}").write_text(text)
    return folder


def write_t5_with_a_head(folder: Path) -> Path:
    """Writes a T5 whose head has values of its own, as the folders of T5 1.1, mT5 and Flan-T5."""
    torch.manual_seed(5)
    config = AutoConfig.for_model(**NETWORKS["t5"], vocab_size=320, decoder_start_token_id=0)
    network = AutoModelForSeq2SeqLM.from_config(config)
    network.lm_head.weight = torch.nn.Parameter(0.1 * torch.randn(320, config.d_model))
    network.save_pretrained(folder)
    return folder


def of_network(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Lets a run begin with the weights of a folder."""
    network = {"class_path": "roots.networks.Pretrained", "init_args": {"path": str(folder)}}
    config["model"]["init_args"]["network"] = network
    return config


def parallel(folder: Path, name: str) -> dict[str, Any]:
    """The reader of a split."""
    files = {"source": str(folder / f"{name}.en"), "target": str(folder / f"{name}.de")}
    return {"class_path": "roots.sources.rows.ParallelText", "init_args": files}


def pairs_config(folder: Path, runs: Path, **trainer: Any) -> dict[str, Any]:
    """The run file of a tiny run: 8 pairs a step, the tokenizer trained on them."""
    plan = {"vocab_size": 300, "extra_tokens": ["<pad>"]}
    optimizer = {"class_path": "roots.optim.AdamW", "init_args": {"learning_rate": 3e-3}}
    schedule = {"class_path": "roots.optim.WarmupLinear", "init_args": {"warmup_steps": 0}}
    settings = {
        "max_steps": 6,
        "val_every_steps": 3,
        "log_every_steps": 1,
        "precision": "32",
        "accelerator": "cpu",
        "runs_dir": str(runs),
        "progress": False,
        "callbacks": [
            {"class_path": "roots.callbacks.GeneratedTexts", "init_args": {"rows": 5}},
        ],
    }
    return {
        "name": "pairs",
        "seed": 1,
        "model": {
            "class_path": "roots.modules.Seq2Seq",
            "init_args": {
                "network": {
                    "class_path": "roots.networks.Scratch",
                    "init_args": {"config": NETWORKS["bart"]},
                },
                "optimizer": optimizer,
                "schedule": schedule,
                "label_smoothing": 0.1,
                "micro_batch_size": 4,
                "beams": 2,
            },
        },
        "data": {
            "class_path": "roots.data.ParallelTexts",
            "init_args": {
                "train": parallel(folder, "train"),
                "val": parallel(folder, "val"),
                "tokenizer": {"class_path": "roots.corpus.BytePairs", "init_args": plan},
                "max_source_tokens": 32,
                "max_target_tokens": 32,
                "sequences_per_step": 8,
            },
        },
        "trainer": {**settings, **trainer},
    }
