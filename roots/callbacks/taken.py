"""What a checkpoint takes of a run, as it is or a copy of it; and what it gives back to one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from roots.callbacks.weight_average import weights_to_use
from roots.inference.folder import draft_folder
from roots.runs import TRAINER_FILE
from roots.strategies.host_copy import HostCopy, gathered_by
from roots.strategies.plain_state import plain_state
from roots.strategies.protocol import as_is


def take_state(trainer: Any, folder: Path, host: HostCopy | None) -> Callable[[], None]:
    """Takes what to resume from, by all ranks, or a copy of it; gives what writes it."""
    strategy = trainer.strategy
    with gathered_by(strategy, host):
        state = plain_state(trainer._checkpoint_connector.dump_checkpoint(weights_only=False))
    copied = host.of if host else as_is
    write: Callable[[], None] = strategy.writer(state, folder / TRAINER_FILE, copied)
    return write


def take_folder(trainer: Any, folder: Path, host: HostCopy | None) -> Callable[[], None]:
    """Takes the network to use, whatever the disk took before; gives what writes it."""
    strategy, network = trainer.strategy, trainer.lightning_module.trainable.network
    strategy.reshard()
    in_place = weights_to_use(trainer)
    with in_place, gathered_by(strategy, host):
        weights = strategy.gather_weights(network)
        if not trainer.is_global_zero:
            return lambda: None
        draft = draft_folder(network, trainer.datamodule.tokenizer, weights)
        if host is not None:
            if not isinstance(in_place, nullcontext):
                host.forget()  # the same places have other weights now
            draft.weights = host.of(draft.weights)

    def write() -> None:
        with weights_to_use(trainer) if host is None else nullcontext():
            draft.write(folder)

    return write


@contextmanager
def swept(folder: Path, *, by: Any, only_after_errors: bool = False) -> Iterator[None]:
    """Removes a temporary folder, on the first rank, that is still there at the end: it failed.

    Args:
        folder: The folder.
        by: The trainer.
        only_after_errors: Leave it there where nothing was raised.
    """
    done = False
    try:
        yield
        done = True
    finally:
        if by.is_global_zero and not (done and only_after_errors):
            shutil.rmtree(folder, ignore_errors=True)


def temporary_folder(final: Path) -> str:
    """Makes a folder beside the one that it will become."""
    final.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    folder.chmod(0o755)
    return str(folder)


def set_progress(loops: dict[str, Any], step: int) -> dict[str, Any]:
    """Fills a fresh fit loop's state with `step` completed steps of its one endless epoch."""
    for scope in ("total", "current"):
        loops["epoch_progress"][scope].update(ready=1, started=1, processed=0, completed=0)
        for counter in loops["epoch_loop.batch_progress"][scope]:
            loops["epoch_loop.batch_progress"][scope][counter] = step
        optimizer_steps = loops["epoch_loop.manual_optimization.optim_step_progress"][scope]
        optimizer_steps.update(ready=step, completed=step)
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = step
    return loops
