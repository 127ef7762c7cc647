"""What a path, or a name on the hub, stands for: the folder of a network. Reads no weights."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roots.errors import CheckpointError, first_line
from roots.networks.base_weights import READ_FILES, fetched
from roots.networks.registered import import_classes_of, registered_causal
from roots.records import expanded, is_file, is_folder
from roots.runs import CHECKPOINT_FILE, Checkpoint, Run, read_checkpoint


@dataclass(frozen=True)
class Source:
    """Where a network lies.

    Args:
        folder: A Hugging Face folder with config.json and *.safetensors.
        name: How to call it: `quickstart/0007`, the folder's name, or the name on the hub.
        run: The run that made it, where that is known.
        checkpoint: Its step and metrics, where it is a checkpoint.
    """

    folder: Path
    name: str
    run: Run | None = None
    checkpoint: Checkpoint | None = None

    def check_undamaged(self) -> None:
        """Raises CheckpointError when weights or settings of a checkpoint are not as they were.

        Each is read whole for it. Of a folder without sums nothing is known.
        """
        known = self.checkpoint
        files = [] if known is None else known.files
        names = [
            n for n in files if n.endswith(READ_FILES) and "/" not in n
        ]  # no shards to resume from
        if known is not None and names and (wrong := known.damage(*names)):
            raise CheckpointError(
                f"{known.path} is not as it was written: {wrong}. Bring it back from a copy, or"
                " name another checkpoint of the run with --checkpoint."
            )


def find(path: str | Path, *, checkpoint: str = "best", fills: bool = False) -> Source:
    """Finds the folder that a path or name stands for.

    Args:
        path: A run's directory, a checkpoint, any Hugging Face folder, or a name on the hub.
        checkpoint: Of a run: `best`, `last`, or a step.
        fills: Whether it shall guess hidden tokens, and not continue a text.

    Raises:
        CheckpointError: There is nothing, or something else, or a network that does not do this,
            or one whose class cannot be imported.
        ConfigError: A variable in the path is not set.
    """
    folder = Path(expanded(str(path)))
    if is_file(folder / "config.yaml"):
        source = _of_checkpoint(Run(folder).checkpoint(checkpoint))
    elif is_file(folder / CHECKPOINT_FILE):
        source = _of_checkpoint(read_checkpoint(folder))
    elif is_folder(folder):
        source = Source(folder, folder.resolve().name)
    elif os.path.exists(folder):  # noqa: PTH110 (a path object would raise)
        raise CheckpointError(f"{folder} is a file. Give the folder that it lies in.")
    else:
        source = _of_hub(str(path), folder)
    _check(source.folder)
    if source.run is not None:
        import_classes_of(source.run, source.folder)
    _check_kind(source, fills=fills)
    return source


def _of_checkpoint(checkpoint: Checkpoint) -> Source:
    run = Run(checkpoint.path.resolve().parent.parent)
    if not run.config_file.is_file():  # a checkpoint that was copied out of its run
        return Source(checkpoint.path, checkpoint.path.resolve().name, None, checkpoint)
    return Source(checkpoint.path, f"{run.path.parent.name}/{run.path.name}", run, checkpoint)


def _of_hub(name: str, folder: Path) -> Source:
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name or not name:
        raise CheckpointError(
            f"There is no folder {name!r} (looked for {folder.absolute()})."
            " Give a run such as runs/quickstart/0001, a Hugging Face folder, or a name on the hub."
        )
    from huggingface_hub.errors import HFValidationError

    try:
        return Source(fetched(name), name)
    except (OSError, HFValidationError) as error:  # HTTP errors of the hub are OSErrors
        raise CheckpointError(
            f"{name!r} is neither a folder here (looked for {folder.absolute()}) nor can it be"
            f" fetched from the Hugging Face hub: {first_line(error)}"
            " Correct the name, or give a folder."
        ) from error


def _check(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise CheckpointError(_no_network(folder))
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(
        path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern)
    )
    if pickled:
        raise CheckpointError(
            f"{folder} has its weights only as {', '.join(pickled[:3])}: those are pickled, and"
            " reading them can run code of whoever wrote them, so roots does not. If you trust the"
            " author, convert them once: transformers.AutoModelForCausalLM.from_pretrained("
            f"'{folder}', use_safetensors=False).save_pretrained('NEW FOLDER'), and put the"
            " tokenizer's files beside them."
        )
    raise CheckpointError(
        f"{folder} has a config.json and no *.safetensors, so there are no weights to load."
        " Fetch or export it again."
    )


def _check_kind(source: Source, *, fills: bool) -> None:
    """Raises CheckpointError for a classifier and the like: opened anyway, it would write noise."""
    from transformers.models.auto import modeling_auto as auto

    try:
        config: Any = json.loads((source.folder / "config.json").read_text(encoding="utf-8"))
        named = [str(name).removeprefix("FSDP") for name in config.get("architectures") or []]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{source.folder / 'config.json'} is damaged: {error!r}. Fetch or export it again."
        ) from error
    causal = {*auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values(), *registered_causal()}
    masked = {*auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values()} - {
        *auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values()  # a BART's decoder writes anew
    }
    if not named or _share(named, masked if fills else causal):
        return
    kind, does = ("masked", "guess hidden tokens") if fills else ("causal", "continue a text")
    raise CheckpointError(
        f"{source.folder} holds no {kind} language model but {', '.join(named)}, which does not"
        f" {does}."
        f" {_cure(source, continues=_share(named, causal), fills=_share(named, masked))}"
    )


def _cure(source: Source, *, continues: bool, fills: bool) -> str:
    """Words how to use a network that does something else than was asked."""
    if continues or fills:
        return f"Ask it by `roots {'generate' if continues else 'fill'}`."
    if source.run is None:
        return "Open it with the class of transformers that its config.json names."
    run = source.run.path
    return (
        f"Open it by roots.load('{run}'); one that has a task answers by its `predict`, and by"
        f" `roots predict --run {run}`. Its checkpoints are Hugging Face folders already."
    )


def _share(names: Iterable[str], others: Iterable[str]) -> bool:
    """Tells whether two lists of classes have a name in common."""
    return not {n.lower() for n in names}.isdisjoint(n.lower() for n in others)


def _no_network(folder: Path) -> str:
    runs = sorted(path.parent for path in folder.glob("[0-9]*/config.yaml"))
    if runs:
        return (
            f"{folder} holds {len(runs):,} runs and is none itself. Name one of them; the newest is"
            f" {runs[-1]}."
        )
    if folder.name == "checkpoints":
        return f"{folder} is a part of a run. Give the run's directory, {folder.parent}."
    return (
        f"{folder} is neither a run (no config.yaml) nor a Hugging Face folder (no config.json)."
        " Give a run such as runs/quickstart/0001, or a folder that `roots export` wrote."
    )
