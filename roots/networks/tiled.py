"""Causal attention in tiles of queries, made of matrix products: for compiled code on a CPU.

torch's flash attention for CPUs walks through small blocks, far below the rate of the machine's
matrix products, in its backward pass above all. Here a tile of queries meets all keys before its
end in one batched product, so that no more than half a tile's worth of masked scores is made, and
the compiler fuses all that lies between the products into one pass. As in flash attention, nothing
of size T·T is kept: the backward pass makes the scores again from the row's log-denominators.

Shape letters: N batch entries times key heads, G query heads that share a key head, n queries of
a tile, T tokens, K head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

TILED = "tiled"
"""The name under which transformers finds it."""

LEAST_TILE = 128
MOST_TILES = 8


def tiled_attention(
    query: Float[Tensor, "N G T K"],
    key: Float[Tensor, "N T K"],
    value: Float[Tensor, "N T Kv"],
    *,
    scale: float,
    tile: int = 0,
) -> Float[Tensor, "N G T Kv"]:
    """Gives softmax(scale · query · keyᵀ, causal) · value.

    Softmax and sums are made in float32 at least; the products in the format of the inputs.

    Args:
        query: Queries, grouped by the key head that they read.
        key: Keys.
        value: Values.
        scale: What the scores are multiplied by.
        tile: Queries in a tile; 0 takes at least 128, and at most 8 tiles.

    Source:
        Dao, arXiv:2307.08691, algorithms 1 and 2, with all keys of a tile in one block.
    """
    tile = tile or max(LEAST_TILE, -(-query.shape[2] // MOST_TILES))
    out: Tensor = _Tiled.apply(query, key, value, scale, tile)
    return out


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - torch hands them by position
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float, tile: int
    ) -> Tensor:
        outs, log_zs = [], []
        for start, end in _tiles(query.shape[2], tile):
            scores = _scores(query, key, start, end, scale)  # N G n end
            log_z = scores.logsumexp(-1, keepdim=True)  # N G n 1
            weights = (scores - log_z).exp().to(value.dtype)
            outs.append(_times(weights, value[:, :end]))  # N G n Kv
            log_zs.append(log_z)
        out, log_z = torch.cat(outs, 2), torch.cat(log_zs, 2)
        ctx.save_for_backward(query, key, value, out, log_z)
        ctx.scale, ctx.tile = scale, tile
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_out: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, log_z = ctx.saved_tensors
        exact = log_z.dtype
        inner = (by_out.to(exact) * out.to(exact)).sum(-1, keepdim=True)  # N G T 1
        by_query = []
        by_key, by_value = (torch.zeros_like(x, dtype=exact) for x in (key, value))
        for start, end in _tiles(query.shape[2], ctx.tile):
            rows = slice(start, end)
            scores = _scores(query, key, start, end, ctx.scale)  # N G n end
            weights = (scores - log_z[:, :, rows]).exp()
            by_weights = _times(by_out[:, :, rows], value[:, :end].transpose(1, 2)).to(exact)
            by_scores = weights * (by_weights - inner[:, :, rows]) * ctx.scale
            by_scores = by_scores.to(query.dtype)
            by_query.append(_times(by_scores, key[:, :end]))
            by_key[:, :end] += _gathered(by_scores, query[:, :, rows])
            by_value[:, :end] += _gathered(weights.to(value.dtype), by_out[:, :, rows])
        return torch.cat(by_query, 2), by_key.to(key.dtype), by_value.to(value.dtype), None, None


def _tiles(length: int, tile: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, tile):
        yield start, min(start + tile, length)


def _scores(query: Tensor, key: Tensor, start: int, end: int, scale: float) -> Tensor:
    """Gives a tile's scaled scores (N G n end), minus infinity where the key is ahead."""
    products = _times(query[:, :, start:end], key[:, :end].transpose(1, 2))
    exact = torch.promote_types(products.dtype, torch.float32)
    places = torch.arange(end, device=query.device)
    ahead = places[start:, None] < places
    return (products.to(exact) * scale).masked_fill(ahead, float("-inf"))


def _times(left: Tensor, right: Tensor) -> Tensor:
    """Multiplies (N G n a) by (N a b), as one product for the heads of a group."""
    n_groups, n_rows = left.shape[1:3]
    product = left.flatten(1, 2) @ right
    unfolded: Tensor = product.unflatten(1, (n_groups, n_rows))
    return unfolded


def _gathered(left: Tensor, right: Tensor) -> Tensor:
    """Multiplies the transpose of (N G n a) by (N G n b), summed over heads and queries."""
    product: Tensor = left.flatten(1, 2).transpose(1, 2) @ right.flatten(1, 2)
    return product


def tiled_attention_forward(  # noqa: PLR0917 - as transformers calls it
    module: nn.Module,
    query: Float[Tensor, "B H T K"],
    key: Float[Tensor, "B Hk S K"],
    value: Float[Tensor, "B Hk S Kv"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Float[Tensor, "B T H Kv"], None]:
    """Is called by the attention layers of transformers.

    What is not plain causal attention over a whole sequence (a mask, dropout, a cache) is left to
    `sdpa`.
    """
    if attention_mask is not None or dropout or not _is_plain(module, query, key, others):
        by_sdpa: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return by_sdpa
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    n_key_heads = key.shape[1]
    grouped = query.unflatten(1, (n_key_heads, -1)).flatten(0, 1)  # N G T K
    out = tiled_attention(grouped, key.flatten(0, 1), value.flatten(0, 1), scale=scale)
    out = out.unflatten(0, (-1, n_key_heads)).flatten(1, 2)  # B H T Kv
    return out.transpose(1, 2).contiguous(), None


def _is_plain(module: nn.Module, query: Tensor, key: Tensor, others: dict[str, Any]) -> bool:
    """Tells whether causal attention over a whole sequence is asked for, and nothing else."""
    causal = others.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if others.get("position_bias") is not None or others.get("cache") is not None:
        return False
    whole = query.shape[2] == key.shape[2] and query.shape[2] > 1
    return bool(causal and whole and others.get("softcap") is None)


AttentionInterface.register(TILED, tiled_attention_forward)
AttentionMaskInterface.register(TILED, sdpa_mask)
