"""The head of a masked language model, on the rows that it is asked for alone.

Between an encoder and its projection to the vocabulary lies a small transform, inside another
module in each family, or written into the network's forward. It is found in none of these places:
the network's own forward is what runs, with its body answering with the states that it is given,
and with nothing where the projection was.

Shape letters: N labelled positions, D model width, E width of the projection, V vocabulary.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

_N_PROBED = 8
_ROWS_PROBED = (1, 4, 6)


class MLMHead(NamedTuple):
    """A head in two parts. It is no module: its weights belong to the network alone.

    Args:
        transform: Makes states of (…, D) what the projection takes, (…, E).
        projection: The projection to the vocabulary, an `nn.Linear`; where the two cannot be told
            apart, the whole head, behind a transform that does nothing.
    """

    transform: nn.Module
    projection: nn.Module


@torch.no_grad()
def split_mlm_head(network: PreTrainedModel) -> tuple[MLMHead | None, str]:
    """Finds the head of a masked language model, and proves it on a few states.

    The parts stay those of the network: what moves, casts, shards or trains its weights does so for
    them as well.

    Args:
        network: With weights, not yet compiled; it is left as it was.

    Returns:
        The head, and why it is not in two parts, or an empty string; None where the head cannot be
        run apart from the network's own forward.
    """
    if network.base_model is network:
        return None, "it has no body apart from its head"
    mode = network.training
    network.eval()
    try:
        states, own = _probe(network)
        if states is None:
            return None, "its forward does not run its base_model"
        split = in_two(network)
        reason = "it has no output embeddings" if split is None else _difference(split, states, own)
        if not reason:
            return split, ""
        whole = MLMHead(nn.Identity(), _OnRows(_without_body(network)))
        without = _difference(whole, states, own)
        return (None, without) if without else (whole, reason)
    finally:
        network.train(mode)


class _OnRows(nn.Module):
    """Runs a network whose body answers with what it is given."""

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, states: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows V"]:
        """Gives what the network makes of its body's states."""
        made: Tensor = self.network(inputs_embeds=states).logits
        return made


def in_two(network: PreTrainedModel) -> MLMHead | None:
    """Finds the head by its place alone, in a network that may be without weights; no proof."""
    projection = network.get_output_embeddings()
    paths = [name for name, module in network.named_modules() if module is projection]
    if type(projection) is not nn.Linear or not paths:
        return None
    without = _exchanged(_without_body(network), paths[0].split("."), nn.Identity())
    return MLMHead(_OnRows(without), projection)


# -- twins: modules that share all but one of their parts -----------------------------------------


def _without_body(network: PreTrainedModel) -> Any:
    """Gives a twin of a network whose body answers with the embeddings that it is given."""
    body = _twin(network.base_model)
    body.forward = _answer
    return _exchanged(network, [network.base_model_prefix], body)


def _answer(*_: Any, inputs_embeds: Tensor, **__: Any) -> Any:
    return BaseModelOutputWithPoolingAndCrossAttentions(last_hidden_state=inputs_embeds)


def _exchanged(module: nn.Module, path: list[str], part: nn.Module) -> Any:
    """Gives a twin of a module with another part at `path`."""
    twin, (first, *rest) = _twin(module), path
    before = module._modules[first]
    assert before is not None
    twin._modules[first] = _exchanged(before, rest, part) if rest else part
    return twin


def _twin(module: nn.Module) -> Any:
    """Copies a module without its hooks; its weights and parts are the same ones."""
    twin = copy.copy(module)
    for name in list(vars(twin)):
        if "_hooks" in name and isinstance(vars(twin)[name], dict):
            vars(twin)[name] = OrderedDict()
    vars(twin)["_modules"] = dict(module._modules)
    return twin


# -- the proof ------------------------------------------------------------------------------------


def _probe(network: PreTrainedModel) -> tuple[Tensor | None, Tensor]:
    """Gives large states (1 8 D) in the place of the body's, and the network's logits for them."""
    given: list[Tensor] = []

    def exchange(_module: nn.Module, _args: Any, output: Any) -> Any:
        received = output.last_hidden_state
        wave = torch.arange(received.numel(), device=received.device, dtype=torch.float32)
        given.append((30 * torch.sin(wave * 12.9898)).view_as(received).to(received.dtype))
        output.last_hidden_state = given[-1]
        return output

    hook = network.base_model.register_forward_hook(exchange)
    tokens = torch.arange(2, 2 + _N_PROBED, device=network.device) % network.config.vocab_size
    try:
        own = network(input_ids=tokens[None], attention_mask=torch.ones_like(tokens)[None]).logits
    finally:
        hook.remove()
    return (given[-1] if given else None), own


def _difference(head: MLMHead, states: Tensor, own: Tensor) -> str:
    """Says how a head differs from the network's own on some of the rows; nothing where not."""
    rows = list(_ROWS_PROBED)
    try:
        ours = head.projection(head.transform(states[:, rows]))
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        return f"its head is more than a transform and a projection ({error})"
    if ours.shape != own[:, rows].shape:
        return f"its logits are {tuple(own.shape)}, not of its projection's width"
    apart = (own[:, rows].float() - ours.float()).abs().max()
    scale = own.float().abs().max().clamp(min=1e-6)
    if not apart <= (1e-5 if own.dtype.itemsize >= 4 else 2e-2) * scale:  # nan is not
        return f"its logits differ from those of its head by {float(apart / scale):.1%}"
    return ""
