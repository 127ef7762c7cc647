"""Opening a trained network: from a run, a checkpoint, a Hugging Face folder or the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from roots.errors import CheckpointError, ConfigError, first_line
from roots.inference.finding import Source, find
from roots.networks import CAUSAL_LM, Head, adapter_base, check_causal, merge_adapter
from roots.networks.base_weights import adapter_revision, check_base, fetched_base
from roots.networks.quiet import without_progress_bars
from roots.networks.reading import dtype_of_files
from roots.tokenizer import Tokenizer

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Loaded:
    """A network that is ready to be used.

    Args:
        network: In evaluation mode.
        tokenizer: What it reads.
        path: The folder that both came from.
    """

    network: PreTrainedModel
    tokenizer: Tokenizer
    path: Path


def load(
    path: str | Path,
    *,
    checkpoint: str = "best",
    device: str = "auto",
    dtype: str = "auto",
    head: Head = CAUSAL_LM,
) -> Loaded:
    """Opens a network and its tokenizer.

    Only *.safetensors are read, and no code that a folder brings is run.

    Args:
        path: A run's directory, a checkpoint, any Hugging Face folder, or a name on the hub.
        checkpoint: Of a run: `best` (by its trainer.monitor), `last`, or a step.
        device: `cpu`, `cuda`, `cuda:1`, `mps`, …; `auto` takes the fastest there is.
        dtype: `float32`, `bfloat16` or `float16`; `auto` takes that of the weights
            in the files, and the widest where they have several.
        head: What the network does: continue a text, or `roots.networks.MASKED_LM`.

    Raises:
        CheckpointError: Nothing that can be read lies at `path`.
        ConfigError: There is no such device or dtype.
        DataError: The folder's tokenizer is missing or damaged.
    """
    source = find(path, checkpoint=checkpoint, fills=not head.is_causal)
    return load_source(source, device=device, dtype=dtype, head=head)


def load_source(
    source: Source, *, device: str = "auto", dtype: str = "auto", head: Head = CAUSAL_LM
) -> Loaded:
    """Opens what `find` found; see `load`."""
    target = pick_device(device)
    if dtype != "auto" and dtype not in DTYPES:
        raise ConfigError(f"There is no dtype {dtype!r}. Set it to auto, {', '.join(DTYPES)}.")
    tokenizer = Tokenizer.load(source.folder)
    network = _network(source.folder, DTYPES.get(dtype), head).to(target)
    _check_vocabulary(source.folder, network, tokenizer)
    if head.is_causal:
        _check_does_not_look_ahead(source.folder, network)
    return Loaded(network.eval(), tokenizer, source.folder)


def pick_device(name: str) -> torch.device:
    """Turns `auto` into the fastest device, and a name into a device that is there.

    Raises:
        ConfigError: There is no such device.
    """
    fastest = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return fastest or torch.device("cpu")
    names = ["cpu"]
    if fastest is not None:
        count = torch.accelerator.device_count()
        names += [fastest.type, *(f"{fastest.type}:{index}" for index in range(count))]
    if name not in names:
        raise ConfigError(
            f"There is no device {name!r} here; there is {', '.join(names)}."
            " Set device to one of these, or to auto."
        )
    return torch.device(name)


def _network(folder: Path, dtype: torch.dtype | None, head: Head) -> PreTrainedModel:
    base, revision = adapter_base(folder), adapter_revision(folder)
    files = fetched_base(folder) if base else folder
    try:
        with without_progress_bars():
            network, report = head.auto.from_pretrained(
                base or folder,
                revision=revision,
                dtype=dtype or dtype_of_files(files) or "auto",
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # transformers and safetensors raise many kinds
        raise CheckpointError(
            f"{folder} holds no network that can be read: {first_line(error)} It must be a"
            f" {head.kind} that transformers knows, with whole *.safetensors; fetch or export it"
            " again."
        ) from error
    _check_complete(folder, network, report, head)
    if not base:
        return network
    check_base(folder)
    return merge_adapter(network, folder)


def _check_complete(
    folder: Path, network: PreTrainedModel, report: dict[str, Any], head: Head
) -> None:
    lost = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if lost:
        raise CheckpointError(
            f"{folder} has no fitting weights for {len(lost):,} parameters of"
            f" {type(network).__name__}, for instance {', '.join(lost[:3])}: they would be random."
            f" Use a folder of a {head.kind}, with the config.json that belongs to it."
        )


def _check_does_not_look_ahead(folder: Path, network: PreTrainedModel) -> None:
    """Raises CheckpointError for BERT and its kin without a causal mask: they write noise."""
    if network.config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return
    tolerance = max(1e-5, 2 * torch.finfo(network.dtype).eps)
    try:
        check_causal(network, tolerance)
    except ConfigError as error:
        raise CheckpointError(
            f"{folder} holds a {type(network).__name__} whose tokens see those behind them, so it"
            " does not continue a text. If it was trained with a causal mask, set"
            f' "is_decoder": true in {folder / "config.json"}; if it fills masks, ask it by'
            " roots fill."
        ) from error


def _check_vocabulary(folder: Path, network: PreTrainedModel, tokenizer: Tokenizer) -> None:
    size = network.get_input_embeddings().weight.shape[0]
    if tokenizer.vocab_size > size:
        raise CheckpointError(
            f"The tokenizer in {folder} has {tokenizer.vocab_size:,} ids and the network only"
            f" {size:,} embeddings. Put the tokenizer.json that the network was trained with there."
        )
