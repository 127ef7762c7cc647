"""Other people's fused projection and loss, by name."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from roots.batch import IGNORE
from roots.errors import ConfigError, MissingExtra
from roots.objectives.projected import Weights

KERNELS = ("fused", "plain", "torch", "liger")


def check_kernel(kernel: str, weights: Weights) -> None:
    """Raises when a kernel cannot make this loss here.

    Raises:
        ConfigError: This torch has no such function, or the kernel does not report what is asked.
        MissingExtra: Liger is not installed.
    """
    if kernel == "torch":
        _check_torch(weights)
    if kernel == "liger":
        _liger()
        if weights.label_smoothing:
            raise ConfigError(
                f"loss: liger does not tell the cross-entropy apart from label_smoothing="
                f"{weights.label_smoothing:g}. Set model.loss to fused."
            )


def _check_torch(weights: Weights) -> None:
    if not hasattr(F, "linear_cross_entropy"):
        raise ConfigError(
            f"torch {torch.__version__} has no linear_cross_entropy; 2.13 does."
            " Set model.loss to fused."
        )
    if weights.z_loss or weights.label_smoothing:
        raise ConfigError(
            f"loss: torch has neither z_loss={weights.z_loss:g} nor a cross-entropy apart from"
            f" label_smoothing={weights.label_smoothing:g}. Set model.loss to fused."
        )


def kernel_loss(
    kernel: str,
    hidden: Float[Tensor, "B T D"],
    head: nn.Linear,
    labels: Int[Tensor, "B T"],
    weights: Weights,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Gives loss and nats, summed, made by torch or by Liger."""
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    states = hidden.flatten(0, -2).to(dtype or hidden.dtype)  # N D
    matrix = head.weight.to(states.dtype)  # V D
    offset = None if head.bias is None else head.bias.to(states.dtype)
    if kernel == "torch":
        loss = F.linear_cross_entropy(
            states,
            matrix,
            labels.flatten(),
            linear_bias=offset,
            ignore_index=IGNORE,
            reduction="sum",
            options=nn.LinearCrossEntropyOptions(),
        ).float()
        return loss, loss.detach()
    if device != "cuda":
        raise ConfigError(
            f"loss: liger is written for CUDA, and this run computes on {device}."
            " Set model.loss to fused."
        )
    made = _liger()(
        states,
        matrix,
        labels.flatten(),
        bias=offset,
        ignore_index=IGNORE,
        lse_square_scale=weights.z_loss,
        reduction="sum",
        return_z_loss=True,
    )
    return made.loss.float(), (made.loss - made.z_loss).detach().float()


def _liger() -> Any:
    try:
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy
    except ImportError as error:
        raise MissingExtra(
            "loss: liger needs the package liger-kernel, which is not installed. Install it"
            " (pip install 'roots-lm[liger]', or pip install -e '.[liger]' in a clone), or set"
            " model.loss to fused."
        ) from error
    return liger_fused_linear_cross_entropy
