"""A head in two parts, its weights cut over two ranks: the loss and gradients of one process."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ranks import run_ranks
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForMaskedLM

from roots.batch import IGNORE
from roots.networks import split_mlm_head
from roots.objectives import MaskedToken, flat_places, row_places

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 60,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
}


class Scored(nn.Module):
    """Body, head and loss in one forward pass, as the root of what is sharded."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, **SIZES)
        self.network = AutoModelForMaskedLM.from_config(config).eval()
        self.head, self.reason = split_mlm_head(self.network)
        self.objective = MaskedToken()

    def forward(self, input_ids: Tensor, labels: Tensor, places: Tensor) -> Tensor:
        assert self.head is not None
        hidden = self.network.base_model(input_ids=input_ids).last_hidden_state
        return self.objective.from_hidden(hidden, self.head, labels, places).loss


def rows() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    input_ids = torch.randint(2, 60, (4, 12), generator=generator)
    labels = torch.full_like(input_ids, IGNORE)
    labels[0, 3], labels[1, 2:9], labels[3, 5] = 7, 11, 13  # ragged: one row has none
    return input_ids, labels, torch.from_numpy(row_places(labels.numpy()))


def gradients(model: Any, part: slice) -> dict[str, Tensor]:
    input_ids, labels, places = (each[part] for each in rows())
    for _ in range(2):  # the second pass meets weights that were gathered and cut again
        model.zero_grad()
        model(input_ids, labels, flat_places(places, 12)).backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def sharded(kind: str, rank_rows: int) -> dict[str, Any]:
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    model = Scored(kind)
    for name, module in model.network.named_modules():
        if name.endswith(("layer.0", "layer.1", "layers.0", "layers.1")):
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    first = dist.get_rank() * rank_rows
    found = gradients(model, slice(first, first + rank_rows))
    # FSDP2 gives means over the ranks
    return {n: (2 * g.full_tensor()).numpy() for n, g in found.items()}


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_two_ranks_of_cut_weights_give_the_gradients_of_one_process(kind: str) -> None:
    model = Scored(kind)
    assert model.reason == ""
    expected = gradients(model, slice(None))
    for found in run_ranks(sharded, kind, 2):
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(
                torch.from_numpy(found[name]), gradient, rtol=1e-5, atol=1e-6
            )
