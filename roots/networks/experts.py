"""The products of experts in the format that autocast asks for, like those of all other layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.integrations import moe

_PRODUCT = "_grouped_mm"
_theirs = getattr(moe, _PRODUCT)


def let_experts_follow_autocast() -> None:
    """Multiplies grouped experts in autocast's format, once and for all networks of this process.

    torch's grouped product knows no autocast, and transformers multiplies in the format of the
    weights: the larger part of a mixture's arithmetic stayed in float32 under bf16-mixed
    (https://github.com/pytorch/pytorch/issues/174763).
    """
    setattr(moe, _PRODUCT, _followed)


def _followed(input: Tensor, weight: Tensor, offs: Any) -> Tensor:  # noqa: A002: their names
    kind = weight.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        input, weight = input.to(dtype), weight.to(dtype)
    product: Tensor = _theirs(input, weight, offs)
    return product
