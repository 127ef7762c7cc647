"""A disk that does not take a checkpoint: all ranks learn of it, and the run says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError

from roots.callbacks.stability import check_action, last_good
from roots.errors import TrainingError

R = TypeVar("R")
SIGNS = ("No space left", "StorageFull", "file write failed", "Disk quota", "File too large")
"""How torch and safetensors word it, which wrap the system's error."""


class Saving:
    """One checkpoint on its way to the disk. After a failure nothing more of it is tried here.

    Args:
        trainer: The trainer of the run.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.step: int = trainer.global_step
        self.problem = ""
        self.error: BaseException | None = None  # not of the disk
        self.ends = False
        """Whether a rank found a mistake of the program, which ends the run on all of them."""

    @property
    def has_failed(self) -> bool:
        """Whether something went wrong on this rank."""
        return bool(self.problem) or self.error is not None

    def on_all(self, write: Callable[..., R], *arguments: Any) -> R | None:
        """Calls a function on this rank; notes what the disk did not take, raises the rest."""
        if self.problem:
            return None
        try:
            return write(*arguments)
        except (OSError, RuntimeError, SafetensorError) as error:
            if not is_of_the_disk(error):
                raise
            self.problem = " ".join(str(error).split())
        return None

    def on_first(self, write: Callable[..., R], *arguments: Any) -> R | None:
        """Calls a function on the first rank."""
        return self.on_all(write, *arguments) if self.trainer.is_global_zero else None

    def has_failed_anywhere(self) -> bool:
        """Tells, on all ranks, whether any of them failed; all meet here."""
        device = self.trainer.strategy.root_device
        told = torch.tensor([self.has_failed, self.error is not None], dtype=torch.float32)
        failed, mistaken = self.trainer.strategy.reduce(told.to(device), reduce_op="sum").tolist()
        self.ends = bool(mistaken)
        return bool(failed)

    def tell(self, *, stops: bool) -> None:
        """Says what happened; raises TrainingError when the run is to stop."""
        if self.error is not None:
            raise self.error
        if stops or self.ends:
            raise TrainingError(
                f"{self.words} {last_good(self.trainer)} Make room first (trainer.keep_best holds"
                " fewer); with trainer.on_failed_save: go_on a run goes on and tries again."
            )
        self.trainer.say(f"{self.words} Going on; the next one is tried when it is due.")

    @property
    def words(self) -> str:
        """Says that it failed, and why."""
        why = self.problem or (repr(self.error) if self.error else "another rank failed")
        return f"The checkpoint of step {self.step:,} could not be written: {why}."


def is_of_the_disk(error: Exception) -> bool:
    """Tells whether it is the disk that refused, and not the program that is wrong."""
    return isinstance(error, OSError) or any(sign in str(error) for sign in SIGNS)


def check_on_failed_save(action: str) -> None:
    """Raises ConfigError when there is no such thing to do."""
    check_action(action, ("stop", "go_on"), "trainer.on_failed_save")
