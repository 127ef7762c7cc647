"""The run file of a tiny masked language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny import tiny_config

ENCODERS: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 32, "intermediate_size": 64},
    "roberta": {"hidden_size": 32, "intermediate_size": 64},
    "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2},
    "electra": {"embedding_size": 16, "hidden_size": 32, "intermediate_size": 64},
    "deberta-v2": {"hidden_size": 32, "intermediate_size": 64},
    "modernbert": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "local_attention": 8,
        "num_hidden_layers": 3,
    },
}
_COMMON = {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64}
_DROPOUT = {
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "roberta": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "distilbert": ("dropout", "attention_dropout"),
    "electra": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "deberta-v2": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "modernbert": (),
}


def encoder(kind: str) -> dict[str, Any]:
    """The configuration of a tiny encoder without dropout."""
    own = ENCODERS[kind]
    common = {"max_position_embeddings": 64} if kind == "distilbert" else _COMMON
    return {"model_type": kind, **common, **own, **dict.fromkeys(_DROPOUT[kind], 0.0)}


def masked_config(
    shards: Path, runs: Path, kind: str = "bert", rows: str = "windows", **trainer: Any
) -> dict[str, Any]:
    """The run file of a tiny run: 8 rows of at most 16 tokens a step."""
    config = tiny_config(shards, runs, **trainer)
    config["model"]["class_path"] = "roots.modules.MaskedLM"
    config["model"]["init_args"]["network"]["init_args"]["config"] = encoder(kind)
    config["data"]["class_path"] = "roots.data.MaskedCorpus"
    config["data"]["init_args"]["rows"] = rows
    return config
