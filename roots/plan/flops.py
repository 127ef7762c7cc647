"""What a run asks of a device: operations per token, in all, and the time they take."""

from __future__ import annotations

from typing import Any

import torch

from roots.networks import TokenFLOPs, flops_by_length
from roots.plan.target import Target
from roots.precision import device_peak, peak_of
from roots.records import duration

USUAL_MFU = 0.4
"""Share of the peak that well-tuned dense training reaches on one GPU; the plan says that it is
assumed."""


def work_of(
    network: Any,
    trainer: Any,
    model: Any,
    data: Any,
    *,
    target: Target | None = None,
    products: torch.dtype = torch.bfloat16,
    mfu: float = USUAL_MFU,
) -> list[tuple[str, str]]:
    """Words the operations of a run, and the hours on GPUs whose peak rate is known.

    Args:
        network: May be on the meta device.
        trainer: Says on what it is trained, and for how long.
        model: Says whether a position sees what is behind it.
        data: Says on how many tokens.
        target: Devices other than the trainer's.
        products: The format of the products there.
        mfu: Share of the peak that is reached, over 0 to 1.

    Returns:
        Lines of a plan.
    """
    if not data.same_lengths:
        return []
    counted = flops_by_length(network, data, causal=model.causal)
    flops = counted[data.seq_len]
    if flops.not_understood:
        parts = ", ".join(flops.not_understood)
        return [("FLOPs", f"not counted, so no share of the peak is reported: {parts}")]
    tokens = data.tokens_by_length(0, trainer.max_steps)
    total = sum(counted[length].per_trained_token * n for length, n in tokens.items())
    words = f"{in_flop(flops.per_trained_token)} per token ({_parts(flops)})"
    words += "".join(
        f", {in_flop(each.per_trained_token)} in rows of {length:,}"
        for length, each in counted.items()
        if length != data.seq_len
    )
    words += f", {in_flop(total)} in all"
    taught, because = _of_teacher(model, data)
    if taught:
        beside = sum(taught[length] * n for length, n in tokens.items())
        words, total = f"{words}, and {in_flop(beside)} of the teacher", total + beside
    lines = [("FLOPs", f"{words}{because}")]
    device = trainer.strategy.root_device
    if target is not None:
        peak, name, ranks = _peak_there(target, products), target.name, target.ranks
    elif device.type == "cuda":
        peak = device_peak(device, trainer.precision_plugin.products)
        name, ranks = torch.cuda.get_device_name(device), trainer.world_size
    else:
        return lines
    lines.append(("time", hours(total, peak, name, ranks, mfu)))
    if peak is not None:
        per_token = flops.per_trained_token + taught.get(data.seq_len, 0)
        rate = mfu * peak * ranks / per_token
        lines.append(("speed", f"{rate:,.0f} tokens/s at {mfu:.0%} MFU"))
    return lines


def _of_teacher(model: Any, data: Any) -> tuple[dict[int, float], str]:
    """Counts the forward passes of a student's teacher, per token by the length of rows.

    They take time as the student's operations do; `train/mfu`, the share that a run reports, is of
    the student's alone.

    Returns:
        Nothing where there is no teacher; or why it is not counted, in words.
    """
    if model.distiller is None:
        return {}, ""
    counted = flops_by_length(model.distiller.empty(model), data, causal=model.causal)
    if missing := counted[data.seq_len].not_understood:
        return {}, f", without those of the teacher, which are not counted: {', '.join(missing)}"
    return {length: sum(each.forward.values()) for length, each in counted.items()}, ""


def _peak_there(target: Target, products: torch.dtype) -> float | None:
    """Gives the rate of products; float32 ones are taken as they are, without TF32."""
    return peak_of(target.name, str(products).removeprefix("torch."))


def hours(
    total: float, peak: float | None, device_name: str, ranks: int, mfu: float = USUAL_MFU
) -> str:
    """Words the time of `total` operations at a usual share of the peak.

    Args:
        total: Operations of the run.
        peak: Operations per second of one device; None where they are not known.
        device_name: The device.
        ranks: How many of them there are.
        mfu: Share of the peak that is reached.
    """
    if peak is None:
        return (
            f"not known: the table of peak rates has no {device_name} for this precision,"
            " so no MFU is reported"
        )
    many = f"{ranks} x " if ranks > 1 else ""
    needed = total / (mfu * peak * ranks)
    return (
        f"{duration(needed)} if {mfu:.0%} MFU are reached"
        f" ({many}{device_name}, {peak / 1e12:,.4g} TFLOP/s dense)"
    )


def _parts(flops: TokenFLOPs) -> str:
    """Lists the kinds of layers with their share, the largest first."""
    kinds = sorted(flops.training.items(), key=lambda item: -item[1])
    return ", ".join(f"{kind} {n / flops.per_trained_token:.0%}" for kind, n in kinds)


def in_flop(n: float) -> str:
    """Words a number of operations: `4.1 GFLOP`."""
    for index, letter in reversed(list(enumerate(" kMGTPEZY"))):
        if float(f"{n:.3g}") >= 1000**index and index:
            return f"{n / 1000**index:.3g} {letter}FLOP"
    return f"{n:,.0f} FLOP"
