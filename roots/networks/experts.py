"""The products of experts in the format that autocast asks for, like those of all other layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake
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


def _followed(input: Tensor, weight: Tensor, offs: Any) -> Tensor:
    kind = weight.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        input, weight = input.to(dtype), weight.to(dtype)
    product = _theirs
    if is_fake(input) and weight.dtype is not torch.bfloat16:  # torch's shapes know no other there
        product, input = torch.ops.transformers.grouped_mm_fallback, input.to(weight.dtype)
    made: Tensor = product(input, weight, offs)
    return made
