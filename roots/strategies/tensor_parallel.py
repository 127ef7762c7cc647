"""Layers that are cut over a group of ranks, each of which computes its heads and its columns.

transformers publishes for a family which projection is cut along its outputs and which along its
inputs; torch's parallel styles do it. All ranks of a group read the same rows, and what enters and
leaves a cut pair of projections is whole on each of them. So are norms, embeddings and the head.

Source:
    Shoeybi et al., arXiv:1909.08053, section 3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)
from transformers import PreTrainedModel

from roots.errors import ConfigError

TENSOR = "tensor"
"""The axis of a mesh along which layers are cut."""

STYLES: dict[str, Callable[[], ParallelStyle]] = {
    "colwise": ColwiseParallel,
    "rowwise": RowwiseParallel,
    "colwise_gather_output": lambda: ColwiseParallel(output_layouts=Replicate()),
    "rowwise_split_input": lambda: RowwiseParallel(input_layouts=Replicate()),
}
"""By transformers' names; each cuts the weight of a projection."""

WHOLE_OF_PARTS = "replicated_with_grad_allreduce"
"""A norm within the heads: whole on each rank, which sees only its own heads' gradient."""

FAMILIES = (
    *("arcee", "cohere", "cohere2", "cwm", "ernie4_5", "exaone4", "gemma", "gemma2", "gemma3_text"),
    *("glm", "glm4", "gpt_neox", "granite", "helium", "hyperclovax", "internlm3", "jais2", "llama"),
    *("ministral", "ministral3", "mistral", "nanochat", "nemotron", "olmo", "olmo2", "olmo3"),
    *("phi", "phi3", "qwen2", "qwen3", "seed_oss", "smollm3", "starcoder2", "vaultgemma"),
)
"""Those whose gradients, cut over two ranks, were found equal to those of one device."""

SIZES = ("num_attention_heads", "num_key_value_heads", "intermediate_size")
"""What is cut, by the keys of a network's configuration."""


def check_layers(network: PreTrainedModel, ranks: int) -> None:
    """Raises ConfigError when the layers of a network cannot be cut over so many ranks.

    Args:
        network: On the meta device.
        ranks: They share its layers.
    """
    config = network.config
    if config.model_type not in FAMILIES:
        raise ConfigError(
            f"tensor_parallel={ranks} cuts the layers of a network. How to cut those of"
            f" {config.model_type}, transformers does not publish, or it was not tested. Set"
            f" trainer.strategy to fsdp, or take a network of {', '.join(FAMILIES)}."
        )
    sizes = {name: size for name in SIZES if (size := getattr(config, name, None))}
    if uneven := {name: size for name, size in sizes.items() if size % ranks}:
        fitting = [n for n in range(1, ranks) if not any(size % n for size in sizes.values())]
        given = " and ".join(f"{name}={size:,}" for name, size in uneven.items())
        raise ConfigError(
            f"tensor_parallel={ranks} does not divide the network's {given}. Set it to"
            f" {' or '.join(map(str, fitting))}, or take a network whose sizes it divides."
        )
    for name in unplanned(network):
        raise ConfigError(
            f"tensor_parallel={ranks} would lose a part of the gradient of {name}, which computes"
            f" on a part of the heads or columns: transformers' plan for {config.model_type} does"
            " not speak of it. Set trainer.strategy to fsdp, or change what brings it in the"
            " network's config."
        )


def unplanned(network: PreTrainedModel) -> list[str]:
    """Names the modules with weights that see only a part of a cut layer, and are in no plan."""
    styles = dict(planned(network))
    inside = [
        (f"{name}.{below}", part)
        for name, module in network.base_model.named_modules()
        if any(styles.get(child) in ("colwise", "rowwise") for child in module.children())
        for below, part in module.named_modules()
        if below and part not in styles
    ]
    return [name for name, part in inside if any(True for _ in part.parameters(recurse=False))]


def cut_layers(network: PreTrainedModel, mesh: DeviceMesh) -> list[nn.Module]:
    """Cuts the projections of a network by the plan of its family.

    Args:
        network: On the meta device; changed in place, names stay.
        mesh: One axis: the ranks of the group.

    Returns:
        The modules that are whole and have only a part of their gradient on each rank.
    """
    partial = []
    for module, style in list(planned(network)):
        if style == WHOLE_OF_PARTS:
            partial.append(module)
        else:
            parallelize_module(module, mesh, STYLES[style]())
    return partial


def planned(network: PreTrainedModel) -> Iterator[tuple[nn.Module, str]]:
    """Lists the modules that the plan of a family speaks of, and what it says."""
    plan: dict[str, str] = network.config.base_model_tp_plan or {}
    for name, module in network.base_model.named_modules():
        if style := plan.get(re.sub(r"\.\d+(?=\.|$)", ".*", name)):
            yield module, style


def narrowed(network: PreTrainedModel, ranks: int) -> PreTrainedModel:
    """Leaves an empty network with what one of several ranks has of its layers, and runs.

    Args:
        network: On the meta device; changed in place.
        ranks: They share its layers, which they divide.
    """
    for module, style in planned(network):
        if not isinstance(module, nn.Linear):
            continue
        by_rows = style.startswith("colwise")
        module.weight.data = module.weight.data.chunk(ranks, 0 if by_rows else 1)[0].contiguous()
        if by_rows and module.bias is not None:
            module.bias.data = module.bias.data.chunk(ranks)[0].contiguous()
    return network


@torch.no_grad()
def agree(parameters: Iterable[nn.Parameter], partial: Iterable[nn.Module], group: Any) -> None:
    """Gives the weights that are whole on each rank of a group one gradient; all ranks come here.

    Where each rank has the gradient of its heads, they are added. Elsewhere all have the same, and
    the mean of them keeps the copies equal, bit by bit, on devices that add in changing orders.

    Args:
        parameters: Of the network; those that are cut are passed over.
        partial: What `cut_layers` gave.
        group: The ranks that share layers.
    """
    parts = {id(parameter) for module in partial for parameter in module.parameters()}
    whole = [p for p in parameters if p.grad is not None and not is_cut(p)]
    gradients = [_local(parameter.grad) for parameter in whole]
    waits = [torch.distributed.all_reduce(g, group=group, async_op=True) for g in gradients]
    for wait in waits:
        wait.wait()
    same = [g for p, g in zip(whole, gradients, strict=True) if id(p) not in parts]
    torch._foreach_div_(same, float(torch.distributed.get_world_size(group)))


def is_cut(parameter: Tensor) -> bool:
    """Tells whether a parameter is cut over the ranks that share layers."""
    if not isinstance(parameter, DTensor):
        return False
    names = parameter.device_mesh.mesh_dim_names or ()
    return TENSOR in names and not parameter.placements[names.index(TENSOR)].is_replicate()


def _local(gradient: Any) -> Tensor:
    local: Tensor = gradient.to_local() if isinstance(gradient, DTensor) else gradient
    return local
