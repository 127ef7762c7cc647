"""Which parameters are decayed, which are hidden matrices, and whether a state fits them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer

from roots.errors import CheckpointError


def decays(owner: nn.Module, parameter: nn.Parameter) -> bool:
    """Tells whether weight decay may shrink a parameter: matrices of layers, nothing else.

    Norms and biases are vectors, also where those of all experts are stacked or a norm has a scale
    for each head (Cohere, Chameleon); so is a vector with axes of length one around it, and the
    logarithms of a state space's decay are no matrix either.
    An embedding's row is only touched when its token occurs, and decay would shrink rare tokens to
    nothing.

    Source:
        Brown et al., arXiv:2005.14165, appendix B, after the practice of GPT-2 and BERT; the
        state space's: Gu & Dao, arXiv:2312.00752, whose code marks `A_log` to be left out.
    """
    if isinstance(owner, nn.Embedding) or parameter.ndim < 2:
        return False
    if type(owner).__name__.endswith("Norm"):
        return False
    if parameter.ndim > 2 and sum(n > 1 for n in parameter.shape) < 2:
        return False
    names = [n for n, p in owner.named_parameters(recurse=False) if p is parameter]
    return not any(name.endswith(_VECTORS) for name in names)


_VECTORS = ("bias", "A_log")


def parameter_groups(
    network: nn.Module, *, weight_decay: float, without: Iterable[nn.Parameter] = ()
) -> list[dict[str, Any]]:
    """Sorts the trainable parameters into a decayed and an undecayed group.

    A tied matrix counts once, as what it is registered as first (an embedding).

    Args:
        network: The network to train; parameters without gradient are left out.
        weight_decay: The decay of the first group; the second has none.
        without: Parameters that are left out too.

    Returns:
        Groups for a torch optimizer, empty ones left out, each with its `name`.
    """
    left_out = {id(parameter) for parameter in without}
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for owner, parameter in owned(network):
        if id(parameter) not in left_out:
            (decayed if decays(owner, parameter) else others).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay, "name": "decayed"},
        {"params": others, "weight_decay": 0.0, "name": "undecayed"},
    ]
    return [group for group in groups if group["params"]]


def owned(network: nn.Module) -> Iterable[tuple[nn.Module, nn.Parameter]]:
    """Lists the trainable parameters, each once, with the module that registers it first."""
    seen = set()
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                yield module, parameter


def hidden_matrices(network: nn.Module) -> list[nn.Parameter]:
    """Lists the trainable matrices that lead from one hidden state to another.

    Those are the two-dimensional parameters of a `transformers` network's body (`base_model`) that
    are decayed: no embeddings, no stacked vectors; heads, tied or not, are outside, and so is what
    a loss has beside the network. Experts stacked into one three-dimensional parameter are no
    matrix. Of a module without such a network, all its matrices but those of embeddings.
    """
    outside = {id(parameter) for parameter in _outside_the_body(network)}
    return [
        parameter
        for owner, parameter in owned(network)
        if parameter.ndim == 2 and decays(owner, parameter) and id(parameter) not in outside
    ]


def _outside_the_body(network: nn.Module) -> Iterable[nn.Parameter]:
    holders = [module for module in network.modules() if hasattr(module, "base_model")]
    if holders:
        held = {id(parameter) for holder in holders for parameter in holder.parameters()}
        yield from (p for p in network.parameters() if id(p) not in held)
    for module in network.modules():
        body = getattr(module, "base_model", None)
        if body is not None:
            within = {id(parameter) for parameter in body.parameters()}
            yield from (p for p in module.parameters() if id(p) not in within)
        head = getattr(module, "get_output_embeddings", lambda: None)()
        if head is not None:
            yield from head.parameters()


def kind_of(group: dict[str, Any]) -> str:
    """Gives the kind of a group that may be that of one layer: `decayed` of `decayed@3`."""
    kind, _, _ = group.get("name", "").partition("@")
    return str(kind)


def check_group_names(optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
    """Raises CheckpointError when a saved state is that of other groups, so of another optimizer.

    It is called before a state is loaded: torch itself would put one optimizer's moments in place
    of another's.
    """
    both = optimizer.param_groups, state_dict["param_groups"]
    names, saved = ([group.get("name", "") for group in groups] for groups in both)
    if names == saved:
        return
    kinds, saved_kinds = ({kind_of(group) for group in groups} for groups in both)
    if kinds == saved_kinds and _layered(names) != _layered(saved):
        raise CheckpointError(
            f"The checkpoint's optimizer has {_layered(saved)} for its layers, and this run's has"
            f" {_layered(names)}: its state cannot be taken over. Set"
            " model.optimizer.layer_decay as the run was started (1 has one rate for all), or"
            " start a new run."
        )
    raise CheckpointError(
        f"The checkpoint's optimizer has the parameter groups {', '.join(saved)}, and this"
        f" run's has {', '.join(names)}: its state cannot be taken over. Set model.optimizer"
        " to the class that the run was started with, or start a new run."
    )


def check_groups(optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
    """Raises CheckpointError as `check_group_names` does, and where a group has another size."""
    check_group_names(optimizer, state_dict)
    for group, saved in zip(optimizer.param_groups, state_dict["param_groups"], strict=True):
        here, there = len(group["params"]), len(saved["params"])
        if here != there:
            raise CheckpointError(
                f"The checkpoint's optimizer has {there:,} parameters in its group"
                f" {group.get('name', '')}, and this run's has {here:,}: its state cannot be taken"
                " over. Resume with the network, and the version of roots, that the run was started"
                " with; or start a new run from its weights (network.path)."
            )


def _layered(names: list[str]) -> str:
    return "rates of their own" if any("@" in name for name in names) else "one rate"
