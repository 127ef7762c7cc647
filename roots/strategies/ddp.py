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

from roots.errors import ConfigError
from roots.strategies.launching import FromNotebooks
from roots.strategies.protocol import StepStrategy, gradient_norm


class DDP(FromNotebooks, DDPStrategy, StepStrategy):
    """Distributed data parallel: gradients are averaged over the ranks on the last micro-batch.

    Args:
        timeout_minutes: How long a rank waits for the others before the run fails.
        find_unused_parameters: Look in each step for weights that had no part in the loss, such as
            a pooler that a head does not read, and let nobody wait for their gradients. It costs
            a walk through the graph in each; without it such weights end the run in its first step.
    """

    def __init__(
        self, *, timeout_minutes: float = 30.0, find_unused_parameters: bool = False
    ) -> None:
        self.timeout_minutes = timeout_minutes
        self.find_unused_parameters = find_unused_parameters
        super().__init__(
            timeout=timedelta(minutes=timeout_minutes),
            gradient_as_bucket_view=True,
            find_unused_parameters=find_unused_parameters,
        )

    def micro_batch(self, *, last: bool) -> AbstractContextManager[None]:
        """Keeps gradients local on all micro-batches but the last."""
        if last or not isinstance(self.model, DistributedDataParallel):
            return nullcontext()
        return self.model.no_sync()

    def post_backward(self, closure_loss: Tensor) -> None:
        """Looks whether the last micro-batch brought all gradients together.

        torch would only do so in the next step, when weights have moved by unsummed gradients.

        Raises:
            ConfigError: It did not: weights had no part in the loss.
        """
        super().post_backward(closure_loss)
        wrapped = self.model
        if not isinstance(wrapped, DistributedDataParallel):
            return
        if wrapped.require_backward_grad_sync:
            try:
                wrapped._check_reducer_finalized()
            except RuntimeError as error:
                raise ConfigError(_unused(wrapped.module)) from error

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


def _unused(module: nn.Module) -> str:
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    unused = [name for name, parameter in trained.items() if parameter.grad is None]
    which = "Some weights"  # those that an earlier micro-batch used cannot be told from others
    if unused:
        which = f"{len(unused):,} of {len(trained):,} weights ({unused[0]} for one)"
    return (
        f"{which} had no part in the loss of the last micro-batch, and DDP waits for the gradient"
        " of each: the ranks would come apart. Let it look for such weights in each step:"
        " trainer.strategy: {class_path: roots.strategies.DDP, init_args: {find_unused_parameters:"
        " true}}."
    )
