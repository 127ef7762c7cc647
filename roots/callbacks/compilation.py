"""What torch's compiler does during a run, counted and told."""

from __future__ import annotations

from typing import Any

import lightning as L

from roots.networks import compiled_so_far, is_compiled


class Compilation(L.Callback):
    """Counts the graphs that are compiled, and names what breaks them.

    The first training step, the first one whose rows have a new length, and the first validation
    warm up. What is compiled later costs seconds at a moment when nobody expects it, most often
    because of a new shape, so it is told.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._breaks: dict[str, int] = {}
        self._late = 0
        self._warm: set[tuple[str, int]] = set()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts to count: what this process compiled before belongs to others."""
        so_far = compiled_so_far()
        self._seen, self._breaks = so_far.graphs, so_far.breaks

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Looks at the counts after each step; they lie on the host."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        length = data.length_at(trainer.global_step - 1)
        self._look(trainer, pl_module, "a training step", length)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks at the counts after each validation."""
        if trainer.state.fn == "fit":
            self._look(trainer, pl_module, "a validation")

    def _look(self, trainer: Any, module: Any, what: str, length: int = 0) -> None:
        if not is_compiled(module.trainable):
            return
        so_far = compiled_so_far()
        new, self._seen = so_far.graphs - self._seen, so_far.graphs
        self._tell_breaks(trainer, so_far.breaks)
        if (what, length) not in self._warm:
            self._warm.add((what, length))
            module.report({"compile/recompilations": float(self._late)})
        elif new:
            self._late += new
            module.report({"compile/recompilations": float(self._late)})
            trainer.say(
                f"compiled again in {what}, after warm-up: {new} graphs at step"
                f" {trainer.global_step:,} ({self._late} so far). A new shape is the usual reason;"
                " TORCH_LOGS=recompiles names it."
            )

    def _tell_breaks(self, trainer: Any, breaks: dict[str, int]) -> None:
        for why in breaks.keys() - self._breaks.keys():
            shown = why if len(why) <= 200 else why[:199] + "…"
            trainer.say(
                f"the compiler breaks its graph here, which costs speed: {shown}"
                " (TORCH_LOGS=graph_breaks shows the line)"
            )
        self._breaks = breaks
