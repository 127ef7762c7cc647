"""Makes a network fast: the attention that suits it, compilation, dropout of fewer random bits."""

from __future__ import annotations

from functools import partial

import torch

from roots.networks import (
    Choice,
    NetworkBuilder,
    Shapes,
    Trainable,
    choose_attention,
    compile_network,
)
from roots.networks.dropout import quicken_dropout
from roots.strategies import StepStrategy


def make_fast(
    trainable: Trainable,
    builder: NetworkBuilder,
    *,
    rows: int,
    seq_len: int,
    dtype: torch.dtype,
    compile_mode: str,
    strategy: StepStrategy,
    whole_rows: bool = True,
    n_shapes: int = 1,
) -> list[str]:
    """Sets the attention where the builder leaves it open; then compiles, or quickens dropout.

    Args:
        trainable: Its network is changed in place; names and weights stay.
        builder: Its settings; they take the name of the attention that was chosen.
        rows: Sequences in a micro-batch.
        seq_len: Tokens in a sequence.
        dtype: The format of the products.
        compile_mode: `none`, `blocks` or `network`.
        strategy: Where the network computes; the first rank chooses for all.
        whole_rows: Each row is one full sequence. Else attention gets a mask, which decides what is
            fast, and which not every one takes: the network keeps its usual one.
        n_shapes: Shapes that the steps of the training have in turn.

    Returns:
        What was decided, in words.
    """
    network, device, remarks = trainable.network, strategy.root_device, []
    if builder.attention == "auto" and not whole_rows:
        builder.attention = str(network.config._attn_implementation)
        remarks.append(f"attention: {builder.attention}, the network's usual one: rows have masks")
    elif builder.attention == "auto":
        shapes = Shapes(rows, seq_len, dtype, device, compiled=compile_mode != "none")
        mine = None
        if strategy.is_global_zero or not strategy.builds_whole:  # it runs the network
            mine = trainable.within(partial(choose_attention, network, shapes))
        choice: Choice = strategy.broadcast(mine)  # type: ignore[assignment]
        network.set_attn_implementation(choice.name)
        builder.attention = choice.name
        remarks.append(str(choice))
    if compile_mode == "none":
        quicken_dropout(network, device)  # the compiler draws by its own means
    compile_network(network, compile_mode, device, n_shapes=n_shapes)
    return remarks
