"""A tiny corpus and a tiny run that the tests share."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from jaxtyping import install_import_hook

# The shapes in signatures are checked while the tests run; they cost nothing otherwise.
install_import_hook(
    [
        "roots.batch",
        "roots.data",
        "roots.objectives",
        "roots.strategies",
        "roots.networks.trainable",
    ],
    "shapes.checked",
)

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "ran",
    "on",
    "under",
    "mat",
    "tree",
    "and",
    "then",
    "it",
    "was",
    "said",
    "that",
    "in",
    "of",
    "to",
    "she",
    "he",
]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Many threads on few shared cores wait for each other more than they work."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred and twenty documents of different lengths, the same in every session."""
    folder = tmp_path_factory.mktemp("text")
    rng = random.Random(7)
    for number in range(120):
        n_words = rng.randint(3, 60)
        words = [rng.choice(WORDS) for _ in range(n_words)]
        (folder / f"{number:03d}.txt").write_text(" ".join(words) + ".\n")
    return folder


@pytest.fixture(scope="session")
def shards(text_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shards of the tiny corpus, with a validation split."""
    from roots.corpus import BytePairs, Corpus
    from roots.sources import Text

    out = tmp_path_factory.mktemp("corpora") / "tiny"
    corpus = Corpus(
        source=Text(paths=[str(text_folder)]),
        out=str(out),
        tokenizer=BytePairs(vocab_size=300),
        val_fraction=0.2,
        workers=1,
    )
    return corpus.prepare(progress=False)


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


@pytest.fixture
def config(shards: Path, tmp_path: Path) -> dict[str, Any]:
    """The run file of a tiny run, writing into a folder of its own."""
    return tiny_config(shards, tmp_path / "runs")
