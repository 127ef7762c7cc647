"""Causal attention in tiles of queries, made of matrix products: for compiled code on a CPU.

torch's flash attention for CPUs walks through small blocks, far below the rate of the machine's
matrix products, in its backward pass above all. Here a tile of queries meets all keys before its
end in one batched product, so that no more than half a tile's worth of masked scores is made, and
the compiler fuses all that lies between the products into one pass. As in flash attention, nothing
of size T·T is kept: the backward pass makes the scores again from the rows' log-denominators.

For that it is an operator of its own: within one graph, the compiler would see that the backward
pass computes something again, and keep it instead.

Shape letters: B sequences, H query heads, S key heads, N = B·S, G = H/S query heads that share a
key head, n queries of a tile, T tokens, K width of queries and keys, W width of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

TILED = "tiled"
"""The name under which transformers finds it."""

LEAST_TILE = 128
MOST_TILES = 8
SCORES_BYTES = 2 * 2**20
"""A tile's scores of the sequences that are computed at once; a core's second cache holds that."""


def tiled_attention(
    query: Float[Tensor, "B H T K"],
    key: Float[Tensor, "B S T K"],
    value: Float[Tensor, "B S T W"],
    *,
    scale: float,
    tile: int = 0,
) -> Float[Tensor, "B T H W"]:
    """Gives softmax(scale · query · keyᵀ, causal) · value.

    Softmax and sums are made in float32 at least; the products in the format of the inputs, or of
    autocast, as torch's own attention does. Within compiled code, what it does is compiled too.

    Args:
        query: Queries; successive heads share a key head.
        key: Keys.
        value: Values.
        scale: What the scores are multiplied by.
        tile: Queries in a tile; 0 takes at least 128, and at most 8 tiles.

    Source:
        Dao, arXiv:2307.08691, algorithms 1 and 2, with all keys of a tile in one block.
    """
    device = query.device.type
    if torch.is_autocast_enabled(device):  # for both passes: backward runs outside of it
        dtype = torch.get_autocast_dtype(device)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    tile = tile or max(LEAST_TILE, -(-query.shape[2] // MOST_TILES))
    compiled = torch.compiler.is_compiling()
    out: Tensor = _forward_op(query, key, value, scale, tile, compiled)[0]
    return out


# -- as operators of torch ------------------------------------------------------------------------


@torch.library.custom_op("roots::tiled_attention", mutates_args=())
def _forward_op(  # noqa: PLR0917 - torch hands them by position
    query: Tensor, key: Tensor, value: Tensor, scale: float, tile: int, compiled: bool
) -> tuple[Tensor, Tensor]:
    run: Callable[..., Any] = _compiled(_forward) if compiled else _forward
    parts = zip(*(x.split(_at_once(query, tile)) for x in (query, key, value)), strict=True)
    outs, log_zs = zip(*(run(*part, scale, tile) for part in parts), strict=True)
    return torch.cat(outs), torch.cat(log_zs)


@_forward_op.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, scale: float, tile: int, compiled: bool) -> Any:  # noqa: ARG001, PLR0917
    batch, heads, length, _ = query.shape
    out = value.new_empty(batch, length, heads, value.shape[3])
    exact = torch.promote_types(query.dtype, torch.float32)
    n_keys = key.shape[1]
    log_z = query.new_empty(batch * n_keys, heads // n_keys, length, 1, dtype=exact)
    return out, log_z


@torch.library.custom_op("roots::tiled_attention_backward", mutates_args=())
def _backward_op(  # noqa: PLR0917 - torch hands them by position
    by_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    log_z: Tensor,
    scale: float,
    tile: int,
    compiled: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    run: Callable[..., Any] = _compiled(_backward) if compiled else _backward
    at_once = _at_once(query, tile)
    split = [x.split(at_once) for x in (by_out, query, key, value, out)]
    split.append(log_z.split(at_once * key.shape[1]))
    made = (run(*part, scale, tile) for part in zip(*split, strict=True))
    by_query, by_key, by_value = (torch.cat(parts) for parts in zip(*made, strict=True))
    return by_query, by_key, by_value


@_backward_op.register_fake
def _(by_out: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any) -> Any:  # noqa: ARG001
    return tuple(
        x.new_empty(x.shape[0], x.shape[2], x.shape[1], x.shape[3]) for x in (query, key, value)
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, ctx.scale, ctx.tile, ctx.compiled = inputs
    ctx.save_for_backward(query, key, value, *output)


def _gradients(ctx: Any, by_out: Tensor, _by_log_z: Tensor) -> tuple[Tensor | None, ...]:
    made = _backward_op(by_out, *ctx.saved_tensors, ctx.scale, ctx.tile, ctx.compiled)
    return (*(gradient.transpose(1, 2) for gradient in made), None, None, None)


_forward_op.register_autograd(_gradients, setup_context=_keep)


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=False)


def _at_once(query: Tensor, tile: int) -> int:
    """Gives how many sequences are computed at once: a divisor of all, few enough for a cache."""
    batch, heads, length, _ = query.shape
    fit = max(1, SCORES_BYTES // (heads * min(tile, length) * length * query.itemsize))
    return max(n for n in range(1, batch + 1) if batch % n == 0 and n <= max(fit, 1))


# -- what they compute ----------------------------------------------------------------------------


def _forward(
    query: Tensor, key: Tensor, value: Tensor, scale: float, tile: int
) -> tuple[Tensor, Tensor]:
    grouped, keys, values = _grouped(query, key), key.flatten(0, 1), value.flatten(0, 1)
    outs, log_zs = [], []
    for start, end in _tiles(query.shape[2], tile):
        scores = _scores(grouped, keys, start, end, scale)  # N G n end
        top = scores.amax(-1, keepdim=True)  # N G n 1
        raised = (scores - top).exp()
        total = raised.sum(-1, keepdim=True)  # N G n 1
        mixed = _times(raised.to(value.dtype), values[:, :end])  # N G n W
        outs.append((mixed.to(total.dtype) / total).to(value.dtype))
        log_zs.append(top + total.log())
    return _rows_first(torch.cat(outs, 2), query.shape[0]), torch.cat(log_zs, 2)


def _backward(  # noqa: PLR0917
    by_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    log_z: Tensor,
    scale: float,
    tile: int,
) -> tuple[Tensor, Tensor, Tensor]:
    exact = log_z.dtype
    grouped, keys, values = _grouped(query, key), key.flatten(0, 1), value.flatten(0, 1)
    inner = (by_out.to(exact) * out.to(exact)).sum(-1, keepdim=True)  # B T H 1
    inner = _grouped(inner.transpose(1, 2), key)  # N G T 1
    by_out = _grouped(by_out.transpose(1, 2), key)  # N G T W
    by_query = []
    by_key, by_value = (torch.zeros_like(x, dtype=exact) for x in (keys, values))
    for start, end in _tiles(query.shape[2], tile):
        rows = slice(start, end)
        scores = _scores(grouped, keys, start, end, scale)  # N G n end
        weights = (scores - log_z[:, :, rows]).exp()
        by_weights = _times(by_out[:, :, rows], values[:, :end].transpose(1, 2)).to(exact)
        by_scores = (weights * (by_weights - inner[:, :, rows]) * scale).to(query.dtype)
        by_query.append(_times(by_scores, keys[:, :end]))
        by_key[:, :end] += _gathered(by_scores, grouped[:, :, rows])
        by_value[:, :end] += _gathered(weights.to(value.dtype), by_out[:, :, rows])
    batch = query.shape[0]
    return (
        _rows_first(torch.cat(by_query, 2), batch),
        _rows_first(by_key[:, None].to(key.dtype), batch),
        _rows_first(by_value[:, None].to(value.dtype), batch),
    )


def _tiles(length: int, tile: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, tile):
        yield start, min(start + tile, length)


def _grouped(states: Tensor, key: Tensor) -> Tensor:
    """Brings (B H T K) to (N G T K)."""
    grouped: Tensor = states.unflatten(1, (key.shape[1], -1)).flatten(0, 1)
    return grouped


def _rows_first(states: Tensor, batch: int) -> Tensor:
    """Brings (N G T K) to (B T H K), in one piece."""
    by_heads: Tensor = states.unflatten(0, (batch, -1)).flatten(1, 2)  # B H T K
    return by_heads.transpose(1, 2).contiguous()


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


# -- as an attention of transformers --------------------------------------------------------------


def tiled_attention_forward(  # noqa: PLR0917 - as transformers calls it
    module: nn.Module,
    query: Float[Tensor, "B H T K"],
    key: Float[Tensor, "B S T2 K"],
    value: Float[Tensor, "B S T2 W"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Float[Tensor, "B T H W"], None]:
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
    return tiled_attention(query, key, value, scale=scale), None


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
