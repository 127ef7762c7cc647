"""Exporting a network: a Hugging Face folder with a card and a manifest."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers import PreTrainedModel

from roots.deployment.card import CARD, card
from roots.deployment.manifest import MANIFEST, ExportManifest, sums
from roots.deployment.opening import tokenizer_class
from roots.deployment.target import check_merge, check_target, target
from roots.inference.finding import Source, find
from roots.inference.folder import write_folder
from roots.inference.loading import load_source
from roots.networks import adapter_base
from roots.networks.base_weights import ADAPTER_WEIGHTS, adapter_revision, local_folder
from roots.networks.reading import files_read
from roots.runs import atomic_folder

_ADAPTER_FILES = (
    "adapter_base.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    "config.json",
    "generation_config.json",
)


def export(
    path: str | Path,
    to: str | Path,
    *,
    checkpoint: str = "best",
    dtype: str = "auto",
    overwrite: bool = False,
    merge: bool = False,
) -> Path:
    """Writes a folder that transformers' `AutoModelForCausalLM` and `AutoTokenizer` open.

    It appears whole or not at all. Where `AutoTokenizer` would give other ids, the card names the
    class that gives the right ones.

    Args:
        path: A run's directory, a checkpoint, any Hugging Face folder, or a name on the hub.
        to: The folder to write; of a link, what it leads to.
        checkpoint: Of a run: `best` (by its trainer.monitor), `last`, or a step.
        dtype: `float32`, `bfloat16` or `float16`; `auto` keeps that of the source's
            weights, bit by bit; several become the widest of them.
        overwrite: Replace an earlier export. A folder with anything else in it is never replaced.
        merge: Of an adapter: add it to the weights of its base; else it is written as it is.

    Returns:
        The folder.

    Raises:
        CheckpointError: Nothing that can be read lies at `path`, or no causal language model, or
            a checkpoint that is not as it was written.
        ConfigError: `to` must not be replaced or cannot be, or there is no such dtype.
        DataError: The source's tokenizer is missing or damaged.
    """
    source, to = find(path, checkpoint=checkpoint), target(to)
    check_target(to, source.folder, overwrite=overwrite)
    check_merge(source.folder, merge=merge, dtype=dtype)
    source.check_undamaged()
    base = "" if merge else adapter_base(source.folder)
    loaded = load_source(source, device="cpu", dtype=dtype)
    with atomic_folder(to) as folder:
        if base:
            for name in _ADAPTER_FILES:
                if (source.folder / name).is_file():
                    shutil.copyfile(source.folder / name, folder / name)
            loaded.tokenizer.save(folder)
        else:
            write_folder(loaded.network, loaded.tokenizer, folder)
        merged = adapter_base(source.folder) if merge else ""
        manifest = _describe(source, loaded.network, merged)
        if base:
            manifest = replace(manifest, **_adapter_of(folder))
        opens = tokenizer_class(folder, loaded.tokenizer)
        text = card(source, manifest, loaded.network, opens=opens, base=base)
        (folder / CARD).write_text(text, encoding="utf-8")
        written = sums(folder, [file.name for file in folder.iterdir()])
        text = replace(manifest, sha256=written).to_json()
        (folder / MANIFEST).write_text(text, encoding="utf-8")
    return to


def _describe(source: Source, network: PreTrainedModel, merged: str) -> ExportManifest:
    known = source.checkpoint
    return ExportManifest(
        source=source.name,
        step=None if known is None else known.step,
        metrics={} if known is None else known.metrics,
        trained_by=_commit(source),
        dtype=str(network.dtype).removeprefix("torch."),
        parameters=network.num_parameters(),
        input_sha256=_input_sums(source.folder, merged),
        sha256={},
    )


def _adapter_of(folder: Path) -> dict[str, Any]:
    """Counts the weights of an adapter that is written as it is, and gives their format."""
    tensors = load_file(folder / ADAPTER_WEIGHTS).values()
    widest = max((tensor.dtype for tensor in tensors), key=lambda dtype: dtype.itemsize)
    count = sum(tensor.numel() for tensor in tensors)
    return {"dtype": str(widest).removeprefix("torch."), "parameters": count}


def _input_sums(folder: Path, merged: str) -> dict[str, str]:
    """Sums what was read; what an adapter was merged into has `base/` before its files' names."""
    found = sums(folder, [*_network_files(folder), "tokenizer.json"])
    if merged:
        base = local_folder(merged, adapter_revision(folder))
        found |= {f"base/{n}": s for n, s in sums(base, _network_files(base)).items()}
    return found


def _network_files(folder: Path) -> list[str]:
    return [*(path.name for path in files_read(folder)), "config.json"]


def _commit(source: Source) -> str:
    """Reads which commit trained the run."""
    if source.run is None:
        return ""
    try:
        text = (source.run.path / "environment.json").read_text(encoding="utf-8")
        environment: Any = json.loads(text)
        return str(environment["code"]["commit"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
