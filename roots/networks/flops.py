"""Floating-point operations of a network per token, by the kind of layer.

The convention is that of PaLM (Chowdhery et al., arXiv:2204.02311, appendix B): the *model's*
operations, two for each multiplication and addition of a matrix product, and nothing else. What is
computed again (activation checkpointing, the backward pass of flash attention) counts once; norms,
activations, softmax, rotary positions and embedding lookups count nothing; a tied head counts. A
training step is the forward pass, and twice as much for the gradients by inputs and by weights.

PaLM counts attention as whole squares. Here a causal query counts half of the T keys, as in
FlashAttention-2 (Dao, arXiv:2307.08691, section 4.1) and Megatron-LM, since kernels skip the other
half: that share of the figures here is half of PaLM's. The rule 6N (Kaplan et al.,
arXiv:2001.08361, section 2.1) leaves attention out, and N without embeddings leaves the head out,
or with them counts lookups as products.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

ATTENTION_LINEAR = "attention's linear layers"
ATTENTION = "attention's scores and values"
FEED_FORWARD = "feed-forward"
EXPERTS = "experts"
ROUTER = "routers"
HEAD = "vocabulary projection"
OTHER = "other linear layers"

OTHER_ATTENTION = ("big_bird", "deberta", "deberta-v2", "diffllama", "gpt_neo", "longformer")
"""Architectures whose attention is no product of every query with every key of its window, once:
block-sparse, of two differences, also with positions, or with windows under other names."""

_BLOCK = re.compile(r"\D*\.(\d+)(\.|$)")


@dataclass(frozen=True)
class TokenFLOPs:
    """Floating-point operations per token, by the kind of layer.

    Args:
        forward: Those of a forward pass.
        training: Those of a forward and a backward pass.
        not_understood: What of the network could not be counted, in words; where there is any, the
            sums are too small.
    """

    forward: dict[str, float]
    training: dict[str, float]
    not_understood: tuple[str, ...] = ()

    @property
    def per_trained_token(self) -> float:
        """Operations of a training step, per token."""
        return sum(self.training.values())

    def times(self, factor: float) -> TokenFLOPs:
        """Gives those of so many tokens."""
        forward, training = (
            {kind: n * factor for kind, n in sums.items()} for sums in (self.forward, self.training)
        )
        return replace(self, forward=forward, training=training)


@dataclass
class _Sums:
    forward: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    training: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    not_understood: list[str] = field(default_factory=list)

    def add(self, kind: str, forward: float, products: int) -> None:
        """Adds a layer; `products` says how many a training step makes for each forward one."""
        self.forward[kind] += forward
        self.training[kind] += forward * products


def count_flops(
    network: PreTrainedModel, *, seq_len: int, causal: bool = True, labelled_fraction: float = 1.0
) -> TokenFLOPs:
    """Counts the operations of a network per token, by its modules; nothing is run.

    Gradients by a layer's weights are made where the weights are trained, gradients by its inputs
    from the lowest block on in which anything is trained.

    Args:
        network: Real, sharded, or on the meta device.
        seq_len: Tokens of a sequence; documents that share one are not told apart.
        causal: A query sees the keys up to its own position, and counts half of them.
        labelled_fraction: Share of the positions that go through the head, in masked models.
    """
    sums, layers = _Sums(), _Layers(network)
    config, attentions = layers.config, layers.attentions
    for name in layers.modules:
        share = labelled_fraction if layers.is_of_head(name) else 1.0
        _add_products(sums, layers, name, config, share)
    n_layers = _value(config, "num_hidden_layers")
    if len(attentions) == n_layers:
        for index, name in enumerate(attentions):
            _add_attention(sums, layers, name, _keys_seen(config, index, seq_len, causal))
    else:
        sums.not_understood.append(f"{len(attentions)} attention modules in {n_layers} layers")
    unknown = tuple(dict.fromkeys(sums.not_understood))
    return TokenFLOPs(dict(sums.forward), dict(sums.training), unknown)


class _Layers:
    """The modules of a network by name, and where in the forward pass they stand."""

    def __init__(self, network: PreTrainedModel) -> None:
        self.config = network.config.get_text_config(decoder=True)
        self.modules = dict(network.named_modules())
        self.head = network.get_output_embeddings()
        self._body = network.base_model_prefix
        self._places = self._find_places()
        trained = [
            self._places[name]
            for name, module in self.modules.items()
            if any(p.requires_grad for p in module.parameters(recurse=False))
        ]
        self._lowest_trained = min(trained, default=len(self.modules))

    def _find_places(self) -> dict[str, int]:
        """Numbers what stands before the blocks 0, the blocks from 1, what follows, the head."""
        blocks = {name: int(found[1]) for name in self.modules if (found := _BLOCK.match(name))}
        behind = max(blocks.values(), default=-1) + 2
        places, begun = {}, False
        for name, module in self.modules.items():
            begun = begun or name in blocks
            places[name] = blocks[name] + 1 if name in blocks else behind if begun else 0
            if module is self.head:
                places[name] = behind + 1
        return places

    @property
    def attentions(self) -> list[str]:
        """The outermost attention modules, in the order of the layers."""
        return [name for name in self.modules if name and self.attention_of(name) == name]

    def is_of_head(self, name: str) -> bool:
        """Tells whether a module stands beside the network's body."""
        return self._body in self.modules and name.split(".", maxsplit=1)[0] != self._body

    def attention_of(self, name: str) -> str:
        """Gives the outermost attention module that holds a module, or an empty string."""
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            path = ".".join(parts[:end])
            if "Attention" in type(self.modules[path]).__name__:
                return path
        return ""

    def products(self, name: str, *, trained: bool) -> int:
        """Products of a training step for each one of the forward pass: 1 to 3."""
        place, lowest = self._places[name], self._lowest_trained
        alone = self.modules[name] is self.head
        by_inputs = place > lowest if alone else place >= lowest
        return 1 + by_inputs + trained


def _add_products(sums: _Sums, layers: _Layers, name: str, config: Any, share: float) -> None:
    """Adds the products of a module's own weights, for the share of positions that meet them."""
    module = layers.modules[name]
    weights = [p for p in module.parameters(recurse=False) if p.dim() > 1]
    if not weights or isinstance(module, nn.Embedding):
        return
    size, kind, why = _product_of(layers, name, module, config)
    if why:
        sums.not_understood.append(why)
        return
    trained = any(p.requires_grad for p in weights)
    sums.add(kind, 2 * size * share, layers.products(name, trained=trained))


def _product_of(
    layers: _Layers, name: str, module: nn.Module, config: Any
) -> tuple[float, str, str]:
    """Gives multiplications per token, the kind of layer, and why they are unknown if they are."""
    visited, experts = _routing(config)
    kind = type(module).__name__
    if isinstance(module, nn.Linear | Conv1D):
        size = _width_in(module) * _width_out(module)
        if re.search(r"\bexperts\.\d+\b", name):
            return (size * visited / experts, EXPERTS, "") if experts else (0, "", kind)
        return size, _kind(layers, name), ""
    stacked = [p for p in module.parameters(recurse=False) if p.dim() == 3]
    if "Experts" in kind and stacked and {len(p) for p in stacked} == {experts}:
        return sum(p.numel() for p in stacked) * visited / experts, EXPERTS, ""
    weight = getattr(module, "weight", None)
    is_router = re.search("Router|Gate", kind) is not None
    shape = (experts, _value(config, "hidden_size"))
    if is_router and weight is not None and tuple(weight.shape) == shape:
        return weight.numel(), ROUTER, ""
    return 0, "", kind


def _routing(config: Any) -> tuple[int, int]:
    """Gives how many experts a token visits, of how many; zeros where there are none."""
    visited = _value(config, "num_experts_per_tok")
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    experts = next((n for name in names if (n := _value(config, name))), 0)
    return (visited, experts) if visited and experts else (0, 0)


def _kind(layers: _Layers, name: str) -> str:
    if layers.modules[name] is layers.head:
        return HEAD
    if layers.attention_of(name):
        return ATTENTION_LINEAR
    return FEED_FORWARD if _BLOCK.match(name) else OTHER


def _value(config: Any, name: str) -> int:
    """Gives a number of the configuration; 0 where there is none, or one for each layer."""
    try:
        value = getattr(config, name, 0)
    except RuntimeError:  # transformers refuses to give one value for layers that differ
        return 0
    return value if isinstance(value, int) else 0


def _width_in(module: nn.Module) -> int:
    return int(module.in_features if isinstance(module, nn.Linear) else module.nx)  # type: ignore[arg-type]


def _width_out(module: nn.Module) -> int:
    return int(module.out_features if isinstance(module, nn.Linear) else module.nf)  # type: ignore[arg-type]


def _add_attention(sums: _Sums, layers: _Layers, name: str, keys: float | None) -> None:
    """Adds scores and values: every head multiplies a query, and a row of weights, with `keys`."""
    attention = layers.modules[name]
    widths = _head_widths(attention, layers.config)
    if keys is None or widths is None:
        sums.not_understood.append(type(attention).__name__)
        return
    by_gradient = layers.products(name, trained=False) > 1
    sums.add(ATTENTION, 2 * keys * sum(widths), 3 if by_gradient else 1)


def _head_widths(attention: nn.Module, config: Any) -> tuple[int, int] | None:
    """Gives the width of all queries and of all values; None where the layers do not confirm it."""
    heads = _value(config, "num_attention_heads")
    if not heads or config.model_type in OTHER_ATTENTION:
        return None
    width = getattr(attention, "head_dim", None) or _value(config, "hidden_size") // heads
    queries = heads * getattr(attention, "qk_head_dim", width)
    values = heads * getattr(attention, "v_head_dim", width)
    linear = [m for m in attention.modules() if isinstance(m, nn.Linear | Conv1D)]
    reads_values = any(_width_in(m) == values for m in linear)
    makes_queries = any(_width_out(m) >= queries for m in linear)
    return (queries, values) if reads_values and makes_queries else None


def _keys_seen(config: Any, index: int, seq_len: int, causal: bool) -> float | None:
    """Gives how many keys a query meets on average in a layer; None where that is not known."""
    kinds = getattr(config, "layer_types", None)
    window = _value(config, "sliding_window")
    if getattr(config, "use_sliding_window", True) is False:
        window = 0
    kind = kinds[index] if kinds else "sliding_attention" if window else "full_attention"
    if kind == "full_attention":
        return seq_len / 2 if causal else seq_len
    if kind == "sliding_attention" and window:
        span = min(window, seq_len)
        return keys_in_window(span, seq_len) * (1 if causal else 2)
    return None


def keys_in_window(window: int, seq_len: int) -> float:
    """Gives how many of the last `window` keys a query meets on average: the first have fewer.

    By areas, so that a window as long as the sequence is half of it.
    """
    return window - window**2 / (2 * seq_len)


def flops_by_length(network: Any, data: Any, *, causal: bool) -> dict[int, TokenFLOPs]:
    """Counts the operations of a token for each length that the rows of a data module have.

    Where pieces of a sequence have special tokens of their own, those of them are among a token's.

    Args:
        network: May be on the meta device.
        data: All of its rows in a step are as long.
        causal: Whether a position sees only what is behind it.
    """
    counted = {}
    for length in data.lengths:
        read = data.read_per_token(length)
        labelled = data.labelled_fraction / read
        flops = count_flops(network, seq_len=length, causal=causal, labelled_fraction=labelled)
        counted[length] = flops if read == 1 else flops.times(read)
    return counted
