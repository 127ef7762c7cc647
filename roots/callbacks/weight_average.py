"""An average of the weights over the steps, which often measures better than the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import lightning as L
import torch
from torch import Tensor

from roots.errors import ConfigError
from roots.optim.clipping import local
from roots.strategies.sharded_files import AVERAGE
from roots.strategies.shards import sharded_as


class WeightAverage(L.Callback):
    """Keeps an exponential moving average of the weights, in float32 and in every checkpoint.

    average = decay * average + (1 - decay) * weights, after each `every_steps` steps. Training goes
    on with its own weights. It is made element by element, so shards are averaged where they lie.
    Weights that are not trained, as those below an adapter, are their own average and not kept.

    Args:
        decay: Share of the old average, 0 to 1; about 1 / (1 - decay) averagings count.
        every_steps: Optimizer steps between averagings.
        from_step: Until so many steps are done, the average is the weights: the first ones would
            spoil it.
        use: Validate with the average and write it into the folder to use (model.safetensors), for
            `generate` and `export`. Else it is only kept.

    Raises:
        ConfigError: A decay outside 0 to 1, or a number of steps that is too small.

    Source:
        Polyak & Juditsky (1992), with the exponential weights of Tarvainen & Valpola,
        arXiv:1703.01780, section 2. Lightning's EMAWeightAveraging cannot average shards, and
        keeps the average in the weights' own format.
    """

    reads_all_weights = True

    def __init__(
        self,
        *,
        decay: float = 0.999,
        every_steps: int = 1,
        from_step: int = 0,
        use: bool = True,
    ) -> None:
        _check(decay, every_steps, from_step)
        self.decay = decay
        self.every_steps = every_steps
        self.from_step = from_step
        self.use = use
        self._average: dict[str, Tensor] = {}
        self._measuring: AbstractContextManager[None] = nullcontext()

    # -- keeping it ----------------------------------------------------------------------------

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begins with the weights, or where the checkpoint's average lies elsewhere, brings it."""
        former, self._average = self._average, {}
        for name, parameter in pl_module.named_parameters():
            if parameter.requires_grad:
                kept = former.get(name, parameter.detach())
                # a copy also where dtype and device are the right ones already
                self._average[name] = like(parameter, kept).to(torch.float32, copy=True)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Averages the step's weights in, when it is due."""
        step = trainer.global_step
        if step <= self.from_step or step % self.every_steps == 0:
            decay = 0.0 if step <= self.from_step else self.decay
            average_in(*self._pairs(pl_module), decay)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the average."""
        strategy: Any = trainer.strategy
        checkpoint[AVERAGE] = strategy.to_save(dict(self._average))

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes the average; of a checkpoint without one, training begins it anew."""
        self._average = dict(checkpoint.get(AVERAGE, {}))

    # -- using it ------------------------------------------------------------------------------

    @contextmanager
    def in_place(self, module: L.LightningModule) -> Iterator[None]:
        """Puts the average in the place of the weights, while the block runs."""
        if not self._average:
            yield
            return
        averages, weights = self._pairs(module)
        own = [weight.clone() for weight in weights]
        torch._foreach_copy_(weights, averages)
        try:
            yield
        finally:
            torch._foreach_copy_(weights, own)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measures the average."""
        if self.use:
            self._measuring = self.in_place(pl_module)
            self._measuring.__enter__()

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Brings the weights back."""
        trainer.strategy.reshard()  # type: ignore[attr-defined]  # a whole copy is of the average
        self._measuring.__exit__(None, None, None)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Brings them back where a validation broke off: a fit leaves its own weights."""
        if not isinstance(self._measuring, nullcontext):
            self.on_validation_epoch_end(trainer, pl_module)  # nothing, where that came to its end

    on_test_epoch_start = on_validation_epoch_start
    on_test_epoch_end = on_validation_epoch_end
    on_predict_epoch_start = on_validation_epoch_start
    on_predict_epoch_end = on_validation_epoch_end

    def _pairs(self, module: L.LightningModule) -> tuple[list[Tensor], list[Tensor]]:
        """Gives averages and weights, those of this rank where they are sharded."""
        parameters = {n: p for n, p in module.named_parameters() if n in self._average}
        averages = [local(like(p, self._average[name])) for name, p in parameters.items()]
        return averages, [local(parameter.detach()) for parameter in parameters.values()]


def like(parameter: Tensor, average: Tensor) -> Tensor:
    """Gives an average on a parameter's device, and cut as that is; it may be so already."""
    cut = average if hasattr(average, "to_local") else sharded_as(average, parameter.detach())
    return cut.to(parameter.device)


@torch.no_grad()
def average_in(averages: Sequence[Tensor], weights: Sequence[Tensor], decay: float) -> None:
    """Moves float32 averages towards weights, in place: decay * average + (1 - decay) * weight."""
    exact = [weight.float() for weight in weights]
    if decay:
        torch._foreach_lerp_(list(averages), exact, 1 - decay)
    else:
        torch._foreach_copy_(list(averages), exact)


def weights_to_use(trainer: Any) -> AbstractContextManager[None]:
    """Puts the weights that a folder to use should have into the network, while the block runs."""
    for callback in trainer.callbacks:
        if isinstance(callback, WeightAverage) and callback.use:
            return callback.in_place(trainer.lightning_module)
    return nullcontext()


def _check(decay: float, every_steps: int, from_step: int) -> None:
    if not 0 <= decay < 1:
        raise ConfigError(
            f"decay={decay:g} is no share of an old average. Set it to at least 0 and less than 1;"
            " 0.999 is usual."
        )
    if every_steps < 1:
        raise ConfigError(f"every_steps={every_steps} is too small. Set it to 1 or more.")
    if from_step < 0:
        raise ConfigError(f"from_step={from_step} is negative. Set it to 0 or more.")
