"""Which attention is fastest for the shapes of a run: measured once, and remembered.

The times are kept in a file beside what was compiled, so that runs of the same shapes on the same
machine choose the same and repeat bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask
from transformers.utils import is_flash_attn_2_available

from roots.networks.tiled import TILED
from roots.networks.timing import Layer, Shapes, key_of, measure, own_eager, remember, remembered

FASTER = 0.9
"""The usual attention gives way to one that takes at most this share of its time."""

MUCH_FASTER = 0.7
"""And to one that keeps all its scores, `eager`, at most this: half as much memory again was taken
by one that was at 0.81 alone, and as fast as the others within the network."""

MOST_SCORES_BYTES = 2**30
"""Attention that keeps all its scores is not tried where they take more than this."""

_PROBE = "roots_probe"


@dataclass(frozen=True)
class Choice:
    """The attention of a run.

    Args:
        name: transformers' name of it.
        milliseconds: What forward and backward of one layer took, by name; empty where there was
            nothing to choose from.
        remembered: Whether they were measured in an earlier run.
    """

    name: str
    milliseconds: dict[str, float]
    remembered: bool = False

    def __str__(self) -> str:
        """Words the choice and what it was chosen from."""
        if not self.milliseconds:
            return f"attention: {self.name}"
        others = [f"{name} {ms:.3g}" for name, ms in self.milliseconds.items() if name != self.name]
        earlier = "; measured in an earlier run" if self.remembered else ""
        took = self.milliseconds[self.name]
        return f"attention: {self.name}, {took:.3g} ms per layer ({', '.join(others)}{earlier})"


def choose_attention(network: PreTrainedModel, shapes: Shapes) -> Choice:
    """Measures the attentions that a network can run, and gives the fastest.

    Where torch is told to be deterministic, or the network does not let its attention be changed,
    the one it was built with stays.

    Args:
        network: Built, not yet compiled; it is left as it was.
        shapes: Those of the run.
    """
    usual = network.config._attn_implementation
    layer = _a_layer(network)
    if layer is None or torch.are_deterministic_algorithms_enabled():
        return Choice(usual, {})
    names = candidates(network, layer, shapes)
    if len(names) == 1:
        return Choice(usual, {})
    key = key_of(layer, shapes, names)
    if (known := remembered().get(key)) is not None:
        return Choice(fastest(usual, known), known, remembered=True)
    milliseconds = measure(layer, shapes, names)
    remember(key, milliseconds)
    return Choice(fastest(usual, milliseconds), milliseconds)


def fastest(usual: str, milliseconds: dict[str, float]) -> str:
    """Names the fastest of those that are clearly faster than the usual one, or that one."""
    if usual not in milliseconds:
        return min(milliseconds, key=milliseconds.__getitem__)
    limit = milliseconds[usual]
    shares = {name: MUCH_FASTER if name == "eager" else FASTER for name in milliseconds}
    clearly = {name: ms for name, ms in milliseconds.items() if ms < shares[name] * limit}
    return min(clearly, key=clearly.__getitem__, default=usual)


def _a_layer(network: PreTrainedModel) -> Layer | None:
    """Catches the first attention call of a network; None where there is none to catch."""
    caught: list[Layer] = []

    def probe(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Any,  # noqa: ARG001 - some give it by its name
        **others: Any,
    ) -> tuple[Tensor, None]:
        heads, widths = (query.shape[1], key.shape[1]), (query.shape[3], value.shape[3])
        plain = {k: v for k, v in others.items() if not isinstance(v, Tensor)}
        caught.append(Layer(module, heads, widths, plain))
        out = query.new_zeros(query.shape[0], query.shape[2], query.shape[1], value.shape[3])
        return out, None

    if not network._can_set_attn_implementation():
        return None
    AttentionInterface.register(_PROBE, probe)
    AttentionMaskInterface.register(_PROBE, sdpa_mask)
    tokens = torch.zeros(1, 2, dtype=torch.long, device=network.device)
    with _attention_of(network, _PROBE), torch.no_grad():
        network.base_model(input_ids=tokens, use_cache=False)
    return caught[0] if caught else None


@contextmanager
def _attention_of(network: PreTrainedModel, name: str) -> Iterator[None]:
    before, mode = network.config._attn_implementation, network.training
    network.set_attn_implementation(name)
    network.eval()
    try:
        yield
    finally:
        network.set_attn_implementation(before)
        network.train(mode)


def candidates(network: PreTrainedModel, layer: Layer, shapes: Shapes) -> list[str]:
    """Names what can be run here and is worth a try, the network's usual attention first."""
    usual = network.config._attn_implementation
    names = [usual]
    if network._supports_sdpa:
        names.append("sdpa")
    scores_bytes = 4 * shapes.rows * layer.heads[0] * shapes.seq_len**2
    if own_eager(layer.module) is not None and scores_bytes <= MOST_SCORES_BYTES:
        names.append("eager")
    causal = getattr(layer.module, "is_causal", True)
    if causal and network._supports_sdpa and shapes.compiled and shapes.device.type == "cpu":
        names.append(TILED)
    half = shapes.dtype in (torch.bfloat16, torch.float16)
    if network._supports_flash_attn and half and shapes.device.type == "cuda":
        names += ["flash_attention_2"] * is_flash_attn_2_available()
    return list(dict.fromkeys(names))
