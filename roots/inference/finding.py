"""What a path, or a name on the hub, stands for: the folder of a network. Reads no weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from roots.errors import CheckpointError
from roots.runs import CHECKPOINT_FILE, Checkpoint, Run

_FILES = ["*.safetensors", "*.json", "*.jinja"]


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


def find(path: str | Path, *, checkpoint: str = "best") -> Source:
    """Finds the folder that a path or name stands for.

    Args:
        path: A run's directory, a checkpoint, any Hugging Face folder, or a name on the hub.
        checkpoint: Of a run: `best`, `last`, or a step.

    Raises:
        CheckpointError: There is nothing, or something else.
    """
    folder = Path(path).expanduser()
    if (folder / "config.yaml").is_file():
        source = _of_checkpoint(Run(folder).checkpoint(checkpoint))
    elif (folder / CHECKPOINT_FILE).is_file():
        source = _of_checkpoint(_read(folder))
    elif folder.is_dir():
        source = Source(folder, folder.resolve().name)
    elif folder.exists():
        raise CheckpointError(f"{folder} is a file. Give the folder that it lies in.")
    else:
        source = _of_hub(str(path))
    _check(source.folder)
    return source


def first_line(error: BaseException) -> str:
    """Gives the first line of an error's text, as a sentence."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if line.endswith(".") else f"{line}."


def _of_checkpoint(checkpoint: Checkpoint) -> Source:
    run = Run(checkpoint.path.resolve().parent.parent)
    if not run.config_file.is_file():  # a checkpoint that was copied out of its run
        return Source(checkpoint.path, checkpoint.path.resolve().name, None, checkpoint)
    return Source(checkpoint.path, f"{run.path.parent.name}/{run.path.name}", run, checkpoint)


def _read(folder: Path) -> Checkpoint:
    try:
        record = json.loads((folder / CHECKPOINT_FILE).read_text(encoding="utf-8"))
        return Checkpoint(folder, record["step"], record["metrics"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / CHECKPOINT_FILE} is damaged: {error!r}. Use another checkpoint of the run."
        ) from error


def _of_hub(name: str) -> Source:
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name or not name:
        raise CheckpointError(
            f"There is no folder {name!r} (looked for {Path(name).expanduser().absolute()})."
            " Give a run such as runs/quickstart/0001, a Hugging Face folder, or a name on the hub."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Source(Path(snapshot_download(name, allow_patterns=_FILES)), name)
    except (OSError, HFValidationError) as error:  # HTTP errors of the hub are OSErrors
        raise CheckpointError(
            f"{name!r} is neither a folder here (looked for {Path(name).absolute()}) nor can it be"
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
