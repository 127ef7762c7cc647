"""Every rank holds the whole network and reads its share of the step."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from roots.strategies.launching import FromNotebooks
from roots.strategies.protocol import StepStrategy, gradient_norm


class DDP(FromNotebooks, DDPStrategy, StepStrategy):
    """Distributed data parallel: gradients are averaged over the ranks on the last micro-batch.

    Args:
        timeout_minutes: How long a rank waits for the others before the run fails.
    """

    def __init__(self, *, timeout_minutes: float = 30.0) -> None:
        self.timeout_minutes = timeout_minutes
        super().__init__(timeout=timedelta(minutes=timeout_minutes), gradient_as_bucket_view=True)

    def micro_batch(self, *, last: bool) -> AbstractContextManager[None]:
        """Keeps gradients local on all micro-batches but the last."""
        if last or not isinstance(self.model, DistributedDataParallel):
            return nullcontext()
        return self.model.no_sync()

    def reduce(self, tensor: Any, group: Any | None = None, reduce_op: Any | None = "mean") -> Any:
        """Reduces over the ranks; a sum is queued on the device, and the host goes on.

        Lightning lets all ranks meet first, which makes each of them wait for its device.
        """
        if reduce_op != "sum" or not isinstance(tensor, Tensor):
            return super().reduce(tensor, group, reduce_op)
        torch.distributed.all_reduce(tensor, group=group)
        return tensor

    def grad_norm(self, parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
        """Gives the Euclidean norm of all gradients together."""
        return gradient_norm(parameters)
