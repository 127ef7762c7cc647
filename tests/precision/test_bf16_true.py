"""What training in bfloat16 loses without float32 copies of the weights, and keeps with them."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer

from roots.networks import Scratch
from roots.optim import AdamW, MasterWeights
from roots.precision import BF16True

LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 40,
}
STEPS, RATE = 60, 5e-5


def learnt(network: nn.Module, optimizer: Optimizer) -> tuple[float, float]:
    """How far the loss on one batch falls, and the share of weights that ever moved."""
    tokens = torch.randint(0, 40, (8, 24), generator=torch.Generator().manual_seed(3))
    start = [p.detach().clone() for p in network.parameters()]
    losses = []
    for _ in range(STEPS):
        logits = network(tokens[:, :-1]).logits.float()
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    pairs = zip(network.parameters(), start, strict=True)
    moved = sum(int((p != old).sum()) for p, old in pairs)
    return losses[0] - losses[-1], moved / sum(p.numel() for p in start)


def test_small_updates_vanish_in_bfloat16_and_are_kept_by_master_weights() -> None:
    exact = Scratch(config=LLAMA).build(None, seed=1, device=torch.device("cpu"))
    low = BF16True().convert_module(copy.deepcopy(exact))
    bare = BF16True().convert_module(copy.deepcopy(exact))
    builder = AdamW(learning_rate=RATE, weight_decay=0.0)
    by_float32, _ = learnt(exact, builder.build(exact))
    by_master, moved_master = learnt(low, MasterWeights(builder.build(low)))
    by_bare, moved_bare = learnt(bare, builder.build(bare))
    # near 0.02 bfloat16 counts in steps of 1.2e-4: an update of 5e-5 is often none
    assert by_float32 > 0.05
    assert abs(by_master / by_float32 - 1) < 0.1
    assert by_bare < 0.8 * by_float32, (by_bare, by_float32)
    assert moved_bare < 0.8 * moved_master, (moved_bare, moved_master)
