"""A run of roots equals a plain PyTorch loop over the same steps."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

import roots
from roots.batch import TokenBatch
from roots.data import TokenCorpus, share_of
from roots.data.steps import TrainSteps
from roots.data.streams import InTurn, Shuffled

STEPS, WARMUP, PEAK, FLOOR, CLIP, DECAY = 20, 4, 3e-3, 0.1, 1.2, 0.1
NETWORKS = {
    "llama": {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
    },
    "gpt2": {
        "model_type": "gpt2",
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 64,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
    },
}


def steps_of(data: TokenCorpus) -> Iterator[TokenBatch]:
    dataset = TrainSteps(
        data.sequences("train"),
        data.token_bytes,
        stream=Shuffled(len(data.sequences("train")), seed=1),
        order=InTurn(8),
        share=share_of(8, rank=0, ranks=1),
    )
    return (dataset[step] for step in range(STEPS))


def groups_by_hand(network: nn.Module) -> list[dict[str, Any]]:
    """By their names: the matrices inside the layers are decayed, nothing else."""
    decayed, others = [], []
    for name, parameter in network.named_parameters():
        in_a_layer = ".layers." in name or ".h." in name
        is_matrix = name.endswith(".weight") and "norm" not in name and ".ln_" not in name
        (decayed if in_a_layer and is_matrix else others).append(parameter)
    assert decayed
    assert others
    return [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]


def rate(step: int) -> float:
    if step < WARMUP:
        return PEAK * (step + 1) / WARMUP
    done = (step - WARMUP) / (STEPS - 1 - WARMUP)
    return PEAK * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * done)) / 2)


def plain_loop(network: nn.Module, data: TokenCorpus) -> tuple[list[float], list[float]]:
    """The losses and gradient norms of one forward pass per step, as anybody would write it."""
    optimizer = torch.optim.AdamW(groups_by_hand(network), betas=(0.9, 0.95), eps=1e-8)
    losses, norms = [], []
    network.train()
    for batch in steps_of(data):
        assert (batch.labels == -100).any()
        for group in optimizer.param_groups:
            group["lr"] = rate(batch.step)
        logits = network(input_ids=batch.input_ids, use_cache=False).logits
        loss = F.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(network.parameters(), CLIP).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def column(run: roots.fit.Run, name: str) -> list[float]:
    with run.metrics_file.open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


@pytest.mark.parametrize(("name", "micro_batch_size"), [("llama", 8), ("llama", 3), ("gpt2", 3)])
def test_twenty_steps_are_those_of_a_plain_loop(
    config: dict[str, Any], name: str, micro_batch_size: int
) -> None:
    model = config["model"]["init_args"]
    model["network"]["init_args"]["config"] = NETWORKS[name]
    model["optimizer"]["init_args"] = {"learning_rate": PEAK, "weight_decay": DECAY}
    model["schedule"]["init_args"] = {"warmup_steps": WARMUP, "floor": FLOOR}
    model.update(micro_batch_size=micro_batch_size, clip_norm=CLIP)
    config["trainer"]["max_steps"] = STEPS
    composed = roots.compose(config)

    keys = dict(NETWORKS[name])
    data: TokenCorpus = composed.data
    keys["vocab_size"] = data.vocabulary.size
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(keys.pop("model_type"), **keys))
    start = composed.model.builder.build(data.vocabulary, seed=1, device=torch.device("cpu"))
    network.load_state_dict(start.state_dict())

    run = composed.fit()
    losses, norms = plain_loop(network, data)
    assert column(run, "train/loss") == pytest.approx(losses, rel=1e-6)
    assert column(run, "optim/grad_norm") == pytest.approx(norms, rel=1e-5)
    assert column(run, "optim/learning_rate") == pytest.approx([rate(n) for n in range(STEPS)])
    assert losses[-1] < losses[0] - 0.5
    assert max(norms) > CLIP > min(norms)  # some were clipped and some were not
    ours, theirs = composed.model.trainable.network.state_dict(), network.state_dict()
    for key in theirs:
        torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=5e-5, msg=key)
