"""DDP beside weights that the loss does not depend on, as BigBird's pooler under its MLM head."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ranks import run_ranks
from tiny_masked import masked_config

from roots.errors import ConfigError
from roots.fit import compose
from roots.modules import StepModule

FINDS = {"class_path": "roots.strategies.DDP", "init_args": {"find_unused_parameters": True}}


def big_bird(shards: Path, runs: Path, strategy: Any, **trainer: Any) -> dict[str, Any]:
    config = masked_config(shards, runs, strategy=strategy, max_steps=3, **trainer)
    config["model"]["init_args"]["micro_batch_size"] = 2
    config["model"]["init_args"]["network"]["init_args"]["config"] = {
        "model_type": "big_bird",
        "attention_type": "original_full",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    return config


def test_weights_that_no_loss_depends_on_are_named_in_the_first_step_and_can_be_looked_for(
    masked_shards: Path, tmp_path: Path
) -> None:
    composed = compose(big_bird(masked_shards, tmp_path, "ddp"))
    words = r"^2 of 44 weights \(trainable\.network\.bert\.pooler\.weight for one\) had no part"
    with pytest.raises(ConfigError, match=words) as told:
        composed.fit()
    assert composed.trainer.global_step == 0
    cure = yaml.safe_load(re.findall(r"trainer\.strategy: ({.*}})", str(told.value))[0])
    assert cure == FINDS
    assert compose(big_bird(masked_shards, tmp_path, FINDS)).fit().last().step == 3


def test_weights_of_some_micro_batches_are_told_too(
    masked_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which take part may change from one micro-batch to the next (experts, LayerDrop)."""
    original, parts = StepModule._score, count()

    def with_the_pooler_in_the_first(self: Any, part: Any) -> Any:
        score = original(self, part)
        if next(parts) % 4:  # of a step's 8 rows, two at a time
            return score
        pooler = self.trainable.network.bert.pooler
        return score._replace(loss=score.loss + 0 * sum(p.sum() for p in pooler.parameters()))

    monkeypatch.setattr(StepModule, "_score", with_the_pooler_in_the_first)
    with pytest.raises(ConfigError, match=r"^Some weights had no part in the loss of the last"):
        compose(big_bird(masked_shards, tmp_path, "ddp")).fit()
    assert compose(big_bird(masked_shards, tmp_path, FINDS)).fit().last().step == 3


def trained(shards: Path, runs: Path, strategy: Any) -> dict[str, Any]:
    composed = compose(big_bird(shards, runs, strategy))
    composed.fit()
    return {name: p.detach().numpy() for name, p in composed.model.trainable.named_parameters()}


def test_two_ranks_that_look_for_them_follow_one_device(
    masked_shards: Path, tmp_path: Path
) -> None:
    alone = trained(masked_shards, tmp_path, "auto")
    for rank in run_ranks(trained, masked_shards, tmp_path, FINDS):
        for name, weight in alone.items():
            torch.testing.assert_close(
                torch.from_numpy(rank[name]), torch.from_numpy(weight), rtol=1e-4, atol=1e-6
            )
