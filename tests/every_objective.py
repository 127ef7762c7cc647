"""A tiny run of every objective, ragged, and its steps: to hold strategies to each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pairs import of_network, pairs_config, write_pairs, write_t5_with_a_head
from preferred import preference_config, preferences
from quizzes import quiz_config, quiz_files
from tiny_chat import chat_config, conversations, write_chat_network
from tiny_masked import masked_config
from tiny_tasks import (
    classes,
    tagged,
    tagging_config,
    task_config,
    words_data,
    write_bert,
    write_encoder,
    write_jsonl,
)

from roots.fit import compose
from roots.runs import load_metrics

OBJECTIVES = (
    "masked",
    "masked, packed",
    "classes",
    "tags",
    "questions",
    "pairs",
    "pairs, a head of its own",
    "conversations",
    "preferences",
)
FIGURES = ("train/loss", "optim/grad_norm", "val/loss")


def every_objective(folder: Path, masked_shards: Path) -> dict[str, dict[str, Any]]:
    """Writes the data of each objective; gives its run file."""
    for name in ("pairs", "quiz", "words", "chat", "preferences"):
        (folder / name).mkdir(parents=True)
    runs = folder / "runs"
    rows = classes(71, 3)  # no multiple of anything
    labelled = {
        "train": str(write_jsonl(folder / "train.jsonl", rows[:54])),
        "val": str(write_jsonl(folder / "val.jsonl", rows[54:])),
        "sequences_per_step": 8,
        "seq_len": 48,
    }
    texts = {"class_path": "roots.data.LabelledTexts", "init_args": labelled}
    words = words_data(folder / "words", tagged(54, 2))
    chat = write_chat_network(folder / "chat" / "network")
    pairs = write_pairs(folder / "pairs", val=11)
    configs = {
        "masked": masked_config(masked_shards, runs),
        "masked, packed": masked_config(masked_shards, runs, "modernbert", "packed"),
        "classes": task_config(
            "SequenceClassifier", texts, write_encoder(folder / "encoder"), runs
        ),
        "tags": tagging_config(write_bert(folder / "bert"), runs, words),
        "questions": quiz_config(quiz_files(folder / "quiz"), runs),
        "pairs": pairs_config(pairs, runs),
        "pairs, a head of its own": of_network(
            pairs_config(pairs, runs), write_t5_with_a_head(folder / "t5")
        ),
        "conversations": chat_config(chat, folder / "chat", conversations(50, 3)),
        "preferences": preference_config(chat, folder / "preferences", preferences(50, 3)),
    }
    assert tuple(configs) == OBJECTIVES
    return configs


def steps(
    config: dict[str, Any], gradient_of: Callable[[Any], Any], strategy: Any = "auto"
) -> dict[str, Any]:
    """Trains four steps; gives the first one's gradient, unclipped, the figures of all, remarks."""
    gradient: dict[str, Any] = {}
    told = {
        "model.clip_norm": ".inf",
        "model.micro_batch_size": 3,
        "trainer.strategy": strategy,
        "trainer.max_steps": 4,
        "trainer.val_every_steps": 2,
        "trainer.log_every_steps": 1,
    }
    composed = compose(config, told)

    def keep(*_: Any) -> None:
        if not gradient:
            named = composed.model.trainable.named_parameters()
            gradient.update((name, gradient_of(parameter)) for name, parameter in named)

    composed.model.on_before_optimizer_step = keep
    rows = load_metrics(composed.fit().metrics_file).rows.values()
    figures = {name: [row[name] for row in rows if name in row] for name in FIGURES}
    return {"gradient": gradient, "figures": figures, "remarks": composed.model.remarks}


def assert_same_figures(made: dict[str, Any], expected: dict[str, Any]) -> None:
    """Holds the figures of `steps` to those of one device."""
    assert [len(made["figures"][name]) for name in FIGURES] == [4, 4, 2]
    for name in FIGURES:
        assert made["figures"][name] == pytest.approx(expected["figures"][name], rel=1e-5)
