"""Experts compute in the format of the run's precision, and are planned in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import LLAMA, tiny_config
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel
from transformers.integrations import moe

from roots.batch import TokenBatch
from roots.fit import compose
from roots.networks import Scratch, experts
from roots.networks.trainable import Trainable
from roots.objectives import NextToken
from roots.plan import plan_run

EXPERTS = {**LLAMA, "num_local_experts": 4, "num_experts_per_tok": 4, "num_key_value_heads": 1}
"""Each token goes to all experts: no rounding sends it to others."""
FAMILIES = {
    "mixtral": {**EXPERTS, "model_type": "mixtral"},
    "gpt_oss": {**EXPERTS, "model_type": "gpt_oss", "head_dim": 16},  # has biases, and transposes
}


def network(family: str) -> PreTrainedModel:
    config = {**FAMILIES[family], "vocab_size": 50}
    return Scratch(config=config).build(None, seed=1, device=torch.device("cpu"))


def batch() -> TokenBatch:
    tokens = torch.arange(64).view(2, 32) % 50
    return TokenBatch(
        input_ids=tokens,
        labels=tokens.roll(-1, 1),
        samples=torch.arange(2),
        step=0,
        n_bytes=torch.zeros(2, dtype=torch.long),
    )


class Products(TorchDispatchMode):
    """Notes the formats of grouped products."""

    def __init__(self) -> None:
        super().__init__()
        self.formats: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "grouped_mm" in str(func):
            self.formats |= {each.dtype for each in args if isinstance(each, Tensor)}
        return func(*args, **(kwargs or {}))


def learned(family: str, dtype: torch.dtype | None) -> tuple[Products, float, dict[str, Tensor]]:
    """Formats of forward and backward products, the loss per label, and the gradients."""
    trainable, products = Trainable(network(family), NextToken()), Products()
    trainable.check()
    with products:
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            score = trainable(batch())
        score.loss.backward()
    gradients = {n: p.grad for n, p in trainable.named_parameters() if p.grad is not None}
    return products, (score.loss / score.n_labels).item(), gradients


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_experts_multiply_in_its_format(family: str, dtype: torch.dtype) -> None:
    products, loss, gradients = learned(family, dtype)
    exactly, exact_loss, exact = learned(family, None)
    assert products.formats - {torch.int32} == {dtype}
    assert exactly.formats - {torch.int32} == {torch.float32}
    assert loss == pytest.approx(exact_loss, rel=2e-3)
    assert gradients.keys() == exact.keys()
    assert {gradient.dtype for gradient in gradients.values()} == {torch.float32}
    for kind in ("gate_up_proj", "down_proj"):  # the experts' own, with their biases
        ours, theirs = (
            torch.cat([g.flatten() for name, g in each.items() if kind in name])
            for each in (gradients, exact)
        )
        assert (ours - theirs).norm() < 0.05 * theirs.norm()


def test_without_the_cure_they_do_not() -> None:
    """Fails when torch or transformers have mended it: then roots/networks/experts.py can go."""
    rows, weights = torch.randn(8, 16), torch.randn(2, 32, 16)
    ends = torch.tensor([4, 8], dtype=torch.int32)
    given = rows, weights.transpose(-2, -1), ends
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert experts._theirs(*given).dtype == torch.float32
        assert moe._grouped_mm(*given).dtype == torch.bfloat16


def test_a_mixture_is_planned_in_the_format_that_its_experts_compute_in(
    shards: Path, tmp_path: Path
) -> None:
    config = tiny_config(shards, tmp_path, precision="bf16-mixed")
    config["model"]["init_args"]["network"]["init_args"]["config"] = FAMILIES["mixtral"]
    composed = compose(config)
    plan = plan_run(composed.trainer, composed.model, composed.data, memory=True)
    assert "activations" in dict(plan.lines)["memory"]
