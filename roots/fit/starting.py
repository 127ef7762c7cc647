"""What a trainer asks before it starts: a module and data of roots, and no training behind it."""

from __future__ import annotations

from typing import Any

import lightning as L

from roots.data import StepData
from roots.errors import ConfigError
from roots.fit.refused_callbacks import check_callbacks
from roots.modules import StepModule
from roots.records import class_path
from roots.runs import Run


class StartsRuns(L.Trainer):
    """Lightning's Trainer, which takes anything and starts as often as it is asked; this one asks.

    A second fit would begin with a fresh optimizer behind the steps of the first, and write over
    its books: it is refused with how to go on.
    """

    run: Run | None
    has_begun = False
    """Whether it has trained, be it in processes apart."""

    def fit(self, model: Any, *args: Any, **kwargs: Any) -> None:
        """Trains, once.

        Raises:
            ConfigError: This trainer has trained already, or was given what it cannot train.
        """
        self.check_new()
        check_callbacks(self.callbacks)  # type: ignore[attr-defined]
        if trainable := getattr(model, "trainable", None):
            trainable.train()  # what broke off before may have left it evaluating
            model.training = True
        super().fit(model, *args, **kwargs)

    def check_new(self) -> None:
        """Raises ConfigError when this trainer has trained already."""
        if self.has_begun:
            raise ConfigError(_already_trained(self.run))

    def _run(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        check_given(model, getattr(self, "datamodule", None))
        return super()._run(model, *args, **kwargs)

    def _run_stage(self) -> Any:
        self.has_begun = self.has_begun or self.state.fn == "fit"
        return super()._run_stage()


def _already_trained(run: Run | None) -> str:
    """Says why there is no second fit, and how to go on."""
    words = "A run is trained once, and this one was trained already"
    if run is None or not run.checkpoints():
        return f"{words}, without a checkpoint to go on from. Compose it anew."
    return (
        f"{words}, into {run.path}. Go on with roots.resume({str(run.path)!r}).fit(), which takes"
        " other settings too ({'trainer.max_steps': …}), or compose it anew."
    )


def check_given(model: Any, data: Any) -> None:
    """Raises ConfigError unless a trainer of roots can work with a module and its data."""
    if not isinstance(model, StepModule):
        raise ConfigError(
            f"{class_path(type(model))} is no module of roots, which makes the whole optimizer step"
            " itself. Take one of roots.modules, or a class of your own that inherits one"
            " (roots.modules.CausalLM, or their base, roots.modules.StepModule)."
        )
    if not isinstance(data, StepData):
        given = class_path(type(data)) if data is not None else "no data module"
        raise ConfigError(
            f"There is {given} where a trainer of roots needs step batches and what they are made"
            " of. Give it datamodule=…, of roots.data (TokenCorpus) or of a class of your own that"
            " inherits roots.data.StepData; a loader of step batches can be what its"
            " train_dataloader gives."
        )
