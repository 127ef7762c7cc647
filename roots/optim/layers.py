"""Rates that fall from layer to layer below the head: which parameters are how far down."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from torch import nn

from roots.errors import ConfigError
from roots.optim.groups import owned


def distances_from_the_top(network: nn.Module) -> dict[int, int]:
    """Tells how far each trainable parameter is below the head, in layers.

    Heads are at 0, the highest layer of the body at 1, the embeddings below the lowest layer. What
    of the body is in no layer and no embedding (a last norm, a pooler) is at 1. Encoder and decoder
    count by themselves: the highest layer of either is at 1, however many the other has. Embeddings
    are below the layers of their own half, those that both halves share below the deeper.

    Args:
        network: A `transformers` network, or a module that holds one.

    Returns:
        The distance by the parameter's id.

    Raises:
        ConfigError: There is no `transformers` network, or its layers cannot be told.
    """
    for module in network.modules():
        body = getattr(module, "base_model", None)
        if isinstance(body, nn.Module):
            distances = {id(p): 0 for _, p in owned(network)} | _distances_in(body)
            if body is module and getattr(body.config, "is_encoder_decoder", False):  # T5
                distances |= {id(p): 0 for p in _heads_within(body)}
            return distances
    raise ConfigError(
        f"layer_decay needs a network of transformers, whose layers are known; this is a"
        f" {type(network).__name__}. Set model.optimizer.layer_decay to 1."
    )


def _distances_in(body: nn.Module) -> dict[int, int]:
    depths = _depths(name for name, _ in body.named_parameters())
    if not depths:
        raise ConfigError(
            f"layer_decay finds no numbered layers in {type(body).__name__}."
            " Set model.optimizer.layer_decay to 1."
        )
    embeddings = _embedded(body)
    distances: dict[int, int] = {}
    for name, parameter in body.named_parameters(remove_duplicate=False):  # a half may share them
        if found := _LAYER(name):
            distance = depths[found["half"]] - int(found["number"])
        else:
            below = id(parameter) in embeddings or _EMBEDS(name)
            distance = _depth_above(name, depths) + 1 if below else 1
        distances[id(parameter)] = max(distance, distances.get(id(parameter), 0))
    return distances


def _heads_within(body: nn.Module) -> list[nn.Parameter]:
    """Lists the parameters that are neither of the embeddings, the encoder nor the decoder."""
    halves = [getattr(body, get)() for get in ("get_encoder", "get_decoder") if hasattr(body, get)]
    children = (child for child in body.children() if child not in halves)
    embeddings = _embedded(body)
    return [p for child in children for p in child.parameters() if id(p) not in embeddings]


def _embedded(body: nn.Module) -> set[int]:
    found = (m for m in body.modules() if isinstance(m, nn.Embedding))
    return {id(parameter) for embedding in found for parameter in embedding.parameters()}


def _depths(names: Iterable[str]) -> dict[str, int]:
    """Counts the layers of each half, `encoder.` or `decoder.`, or of the one stack there is."""
    depths: dict[str, int] = {}
    for found in filter(None, map(_LAYER, names)):
        half = found["half"]
        depths[half] = max(depths.get(half, 0), int(found["number"]) + 1)
    return depths


def _depth_above(name: str, depths: dict[str, int]) -> int:
    """Counts the layers above an embedding: those of the half that it is in, or of the deeper."""
    own = [n for half, n in depths.items() if name.startswith(half)]
    return max(own or depths.values())


_EMBEDS = re.compile(r"emb(?!edding_norm|_layer_norm_after)|project_in").search
"""What belongs to the embeddings by its name, as `roots.networks.freezing` has it: OPT's projection
of them does, the last norms of LFM2 and ESM do not."""

_LAYER = re.compile(r"(?P<half>(?:.*?\.)?)(?:layers?|h|blocks?)\.(?P<number>\d+)\.").match
"""How transformers numbers the layers of a body: `encoder.layer.3.…`, `layers.3.…`, `h.3.…`. The
first number counts: the parts of T5's `block.3` are its `layer.0` and `layer.1`."""


def by_layer(groups: list[dict[str, Any]], distances: dict[int, int]) -> list[dict[str, Any]]:
    """Divides groups by how far their parameters are below the head, and calls them `decayed@3`."""
    divided = []
    for group in groups:
        for distance in sorted({distances[id(p)] for p in group["params"]}):
            here = [p for p in group["params"] if distances[id(p)] == distance]
            divided.append({**group, "params": here, "name": f"{group['name']}@{distance}"})
    return divided


def layers_below(group: dict[str, Any]) -> int:
    """Tells how far below the head a group's parameters are: 3 of `decayed@3`; else 0."""
    _, _, distance = group["name"].partition("@")
    return int(distance or 0)
