"""Every family whose layers are said to be cut rightly: its gradient over two ranks and on one."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from ranks import run_ranks
from torch import Tensor
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from roots.networks import Scratch
from roots.strategies.filling import Placing
from roots.strategies.tensor_parallel import FAMILIES, TENSOR, agree, cut_layers, is_cut

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "vocab_size": 96,
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 1),
}


def builder_of(family: str) -> Scratch:
    config = CONFIG_MAPPING[family]
    known = set(vars(config())) | set(config.attribute_map)
    sizes = {key: size for key, size in SIZES.items() if key in known}
    without = dict.fromkeys((key for key in known if "dropout" in key or key.endswith("drop")), 0.0)
    return Scratch(config={"model_type": family, **sizes, **without}, attention="eager")


def gradient(network: Any) -> None:
    tokens = torch.randint(2, 96, (2, 12), generator=torch.Generator().manual_seed(0))
    logits = network(input_ids=tokens, use_cache=False).logits.float()
    F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()


def enlarged(network: Any) -> Any:
    """Weights so large that each of them matters, and norms that are not all ones."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.mul_(3) if parameter.ndim > 1 else parameter.data.add_(0.1 * noise)
    return network


def difference(family: str, mesh: Any) -> tuple[int, float]:
    """How many weights are cut, and how far the gradient is from that of one device."""
    builder = builder_of(family)
    whole = enlarged(builder.build(None, seed=1, device=torch.device("cpu"))).train()
    cut = builder.skeleton(None).train()
    partial = cut_layers(cut, mesh)
    cut.to_empty(device="cpu").tie_weights()
    placing = Placing(cut)
    for name, tensor in (*whole.named_parameters(), *whole.named_buffers()):
        placing(name, tensor)
    gradient(whole), gradient(cut)
    agree(cut.parameters(), partial, mesh.get_group(TENSOR))
    pairs = zip(whole.parameters(), cut.parameters(), strict=True)
    apart = [float((p.grad - gathered(q.grad)).abs().max() / p.grad.abs().max()) for p, q in pairs]
    return sum(map(is_cut, cut.parameters())), max(apart)


def gathered(tensor: Any) -> Tensor:
    whole: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole


def all_families() -> dict[str, tuple[int, float]]:
    from torch.distributed.device_mesh import init_device_mesh

    torch.distributed.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=(TENSOR,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {family: difference(family, mesh) for family in FAMILIES}


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[int, float]]:
    return run_ranks(all_families, timeout=300)[0]


@pytest.mark.slow  # thirty-five networks
@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_of_a_family_is_that_of_one_device(found: dict, family: str) -> None:
    n_cut, apart = found[family]
    assert n_cut >= 8
    assert apart < 1e-4
