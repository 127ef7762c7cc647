"""Adapters of low rank, by peft; the one file that imports it."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from roots.errors import CheckpointError, ConfigError, MissingExtra
from roots.networks.base_weights import ADAPTER_BASE, ADAPTER_WEIGHTS, BaseWeights
from roots.networks.head import Head

_TASKS = {
    "causal language model": "CAUSAL_LM",
    "sequence classifier": "SEQ_CLS",
    "token classifier": "TOKEN_CLS",
    "reader of questions": "QUESTION_ANS",
    "sequence-to-sequence model": "SEQ_2_SEQ_LM",
}
_PREFIX = "base_model.model."
"""What peft's files put before a network's own names."""


class LoRA:
    """Trains matrices of low rank beside the network's own, which stay as they are.

    A matrix W becomes W + alpha / rank · B · A, with B zero at first, so that the network begins as
    it was. Heads of classifiers and the like are trained and saved as a whole. Needs the extra
    `peft`.

    Args:
        rank: Rows of A.
        alpha: Weight of the adapter, over `rank`; usual is once or twice the rank.
        dropout: Probability with which an adapter's input is dropped, while training.
        modules: The ends of the names of the linear layers that get an adapter, `[q_proj, v_proj]`;
            or `all-linear`, all of them but heads.

    Raises:
        ConfigError: A number that cannot work, or no modules.

    Source:
        Hu et al., arXiv:2106.09685; all linear layers: Dettmers et al., arXiv:2305.14314, sec. 4.
    """

    def __init__(
        self,
        *,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        modules: str | list[str] = "all-linear",
    ) -> None:
        if rank < 1 or not alpha > 0:
            raise ConfigError(
                f"rank={rank} and alpha={alpha:g}: an adapter of such numbers learns nothing."
                " Set adapter.rank to 1 or more (8 to 64 are usual), and alpha above 0."
            )
        if not 0 <= dropout < 1:
            raise ConfigError(
                f"dropout={dropout:g} is no share. Set adapter.dropout to at least 0 and below 1."
            )
        if not modules or (isinstance(modules, str) and modules != "all-linear"):
            raise ConfigError(
                f"modules={modules!r} are no modules. Set adapter.modules to all-linear, or to a"
                " list of names such as [q_proj, v_proj]."
            )
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.modules = modules

    def put_on(
        self,
        network: PreTrainedModel,
        *,
        head: Head,
        drawn: Iterable[str],
        base: BaseWeights | None = None,
    ) -> str:
        """Puts adapters into a network, in place, and leaves nothing else to be trained.

        Args:
            network: Its class and its names for other layers stay.
            head: What is on top of its body.
            drawn: Parameters that are random, and so are trained too.
            base: Its weights, for whoever opens the adapter.

        Returns:
            What was done, in words.

        Raises:
            ConfigError: There are no such modules, or one of them is tied to the embeddings.
            MissingExtra: peft is not installed.
        """
        peft = _peft()
        name, revision = base.place if base else (None, None)
        whole = sorted({*_owners(drawn), *(heads_of(network) if head.is_new else ())})
        config = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=self.modules,
            modules_to_save=whole or None,
            exclude_modules=whole or None,
            task_type=_TASKS.get(head.kind),
            base_model_name_or_path=name,
            revision=revision,
        )
        try:
            with _quiet_peft():
                peft.inject_adapter_in_model(config, network)
        except ValueError as error:
            raise ConfigError(self._not_found(network, str(error))) from error
        _check_not_tied(network)
        network.base_record = base.record if base else {}
        n_trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
        n_layers = sum(isinstance(m, peft.tuners.lora.LoraLayer) for m in network.modules())
        also = f", {', '.join(whole)} as a whole" if whole else ""
        return (
            f"network: adapters of rank {self.rank} on {n_layers} linear layers{also};"
            f" {n_trained:,} parameters are trained, the others stay as they are"
        )

    def _not_found(self, network: PreTrainedModel, error: str) -> str:
        names = {
            name.rpartition(".")[2]
            for name, module in network.named_modules()
            if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
        }
        return (
            f"{type(network).__name__} takes no adapters on {self.modules}: {error.splitlines()[0]}"
            f" Its linear layers are {', '.join(sorted(names)) or 'none'}: name some of them in"
            " adapter.modules, or set it to all-linear."
        )


def is_adapted(network: nn.Module) -> bool:
    """Tells whether adapters are in a network."""
    return hasattr(network, "peft_config")


def trained_names(module: nn.Module) -> set[str]:
    """Names the parameters that are trained, as in the module's state."""
    return {name for name, p in module.named_parameters(remove_duplicate=False) if p.requires_grad}


def check_trained(own: set[str], saved: set[str]) -> None:
    """Raises CheckpointError when a checkpoint holds other weights than those that are trained."""
    if own != saved:
        odd = sorted(own ^ saved)
        raise CheckpointError(
            f"The checkpoint holds {len(saved):,} trained weights and this network trains"
            f" {len(own):,}; they differ in {len(odd):,}, such as {odd[0]}. Leave network.adapter"
            " as it was, or start a new run."
        )


def write_adapter(network: PreTrainedModel, folder: Path) -> None:
    """Writes what `peft.PeftModel.from_pretrained` opens on the base."""
    write, weights = adapter_writer(network)
    write(weights, folder)


def adapter_writer(
    network: PreTrainedModel,
) -> tuple[Callable[[Mapping[str, Tensor], Path], None], dict[str, Tensor]]:
    """Gives what writes an adapter, and asks the network nothing more, and the weights to write."""
    state = _peft().get_peft_model_state_dict(network, save_embedding_layers=False)
    config = copy.deepcopy(network.peft_config["default"])
    config.inference_mode = True
    base = getattr(network, "base_record", {})

    def write(weights: Mapping[str, Tensor], folder: Path) -> None:
        tensors = {name: tensor.cpu().contiguous() for name, tensor in weights.items()}
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
        config.save_pretrained(str(folder))
        if base:
            (folder / ADAPTER_BASE).write_text(json.dumps(base, indent=2) + "\n", encoding="utf-8")

    return write, {f"{_PREFIX}{name}": tensor.detach() for name, tensor in state.items()}


@torch.no_grad()
def merge_adapter(network: PreTrainedModel, folder: str | Path) -> PreTrainedModel:
    """Adds the adapter in a folder to the weights of its base.

    Args:
        network: The base; changed in place.
        folder: With `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        CheckpointError: The adapter does not fit the network, or is damaged.
        MissingExtra: peft is not installed.
    """
    peft = _peft()
    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
        weights = load_file(Path(folder) / ADAPTER_WEIGHTS)
        with _quiet_peft():
            tuner = peft.LoraModel(network, config, "default")
        state = {name.removeprefix(_PREFIX): t for name, t in weights.items()}
        told = peft.set_peft_model_state_dict(network, state)
    except Exception as error:  # peft, torch and safetensors raise many kinds
        raise _unfitting(folder, network, str(error).splitlines()[0]) from error
    own = (name for name in told.missing_keys if ".lora_" in name or ".modules_to_save." in name)
    lost = sorted(own) + sorted(told.unexpected_keys)
    if lost:
        raise _unfitting(folder, network, f"{len(lost)} names differ, such as {lost[0]}")
    merged: PreTrainedModel = tuner.merge_and_unload()
    for name in ("peft_config", "peft_type"):
        if hasattr(merged, name):
            delattr(merged, name)
    return merged.requires_grad_(True)


def whole_in(folder: str | Path) -> set[str]:
    """Names the parameters that an adapter's file holds as a whole: those of a new head."""
    with safe_open(Path(folder) / ADAPTER_WEIGHTS, "pt") as file:
        names = {name.removeprefix(_PREFIX) for name in file.keys()}  # noqa: SIM118 - no mapping
    return {name for name in names if ".lora_" not in name}


def _owners(names: Iterable[str]) -> Iterator[str]:
    return (name.rpartition(".")[0] for name in names)


def heads_of(network: PreTrainedModel) -> Iterator[str]:
    """Names the modules outside the body that have parameters of their own.

    Of a network that is its own body (T5), these are what is neither encoder, decoder nor
    embedding: the projection to the vocabulary, or that to the places of an answer.
    """
    if network.base_model is network:
        body = (network.get_encoder(), network.get_decoder())
        for name, child in network.named_children():
            if child not in body and not isinstance(child, nn.Embedding):
                yield name
        return
    for name, module in network.named_modules():
        inside = name == network.base_model_prefix or name.startswith(
            network.base_model_prefix + "."
        )
        if name and not inside and list(module.parameters(recurse=False)):
            yield name


def _check_not_tied(network: PreTrainedModel) -> None:
    embeddings, head = network.get_input_embeddings(), network.get_output_embeddings()
    layers = [m.base_layer for m in (embeddings, head) if hasattr(m, "base_layer")]
    if layers and network.config.get_text_config().tie_word_embeddings:
        raise ConfigError(
            f"The embeddings of {type(network).__name__} are its vocabulary projection, and"
            " adapter.modules names one of the two: merged, they would part. Leave it out."
        )


def _unfitting(folder: str | Path, network: PreTrainedModel, why: str) -> CheckpointError:
    return CheckpointError(
        f"The adapter in {folder} does not fit this {type(network).__name__}: {why}. Use the base"
        " that its adapter_config.json names, and another checkpoint if the file is damaged."
    )


@contextmanager
def _quiet_peft() -> Iterator[None]:
    """Keeps peft from telling what it rightly sets for GPT-2, and what is refused here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
        warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
        yield


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtra(
            "Adapters (roots.networks.LoRA, or a run that was trained with them) need the package"
            " peft, which is not installed. Install it (pip install 'roots-lm[peft]', or pip"
            " install -e '.[peft]' in a clone), or leave network.adapter out."
        ) from error
    return peft
