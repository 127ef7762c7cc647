"""What a checkpoint takes of a run: as it is where it is written at once, else a copy of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from roots.callbacks.weight_average import weights_to_use
from roots.inference.folder import draft_folder
from roots.runs import TRAINER_FILE
from roots.strategies.host_copy import HostCopy, gathered_by
from roots.strategies.protocol import as_is


def take_state(trainer: Any, folder: Path, host: HostCopy | None) -> Callable[[], None]:
    """Takes what to resume from, by all ranks, or a copy of it; gives what writes it."""
    strategy = trainer.strategy
    with gathered_by(strategy, host):
        state = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
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


def temporary_folder(final: Path) -> str:
    """Makes a folder beside the one that it will become."""
    final.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    folder.chmod(0o755)
    return str(folder)
