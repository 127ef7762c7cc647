"""Networks with published or earlier weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PretrainedConfig, PreTrainedModel

from roots.errors import ConfigError
from roots.networks.base_weights import (
    BaseWeights,
    adapter_base,
    adapter_revision,
    check_base,
    fetched,
)
from roots.networks.builder import NetworkBuilder, implementation, tell_padding
from roots.networks.checks import (
    check_attention,
    check_attention_name,
    check_causal,
    check_vocabulary,
)
from roots.networks.drawing import Give, named_tensors
from roots.networks.folder_config import read_config, unreadable
from roots.networks.freezing import freeze
from roots.networks.head import CAUSAL_LM, Head
from roots.networks.lora import LoRA, merge_adapter, whole_in
from roots.networks.quantising import Quantisation, keep_as_they_are
from roots.networks.quiet import quiet_transformers
from roots.networks.reading import read_one_by_one, untie, untied_in
from roots.records import Vocabulary
from roots.runs import network_folder
from roots.tokenizer import Tokenizer, other_tokens


class Pretrained(NetworkBuilder):
    """A network with the weights of a folder or of a name on the Hugging Face hub.

    Args:
        path: A folder with config.json and *.safetensors, the directory of a run (its best
            checkpoint is taken), or a name on the hub. Weights in other formats are not read: they
            are pickled, and unpickling runs code.
        config: Keys of the network's configuration to change: `{hidden_dropout_prob: 0.0}`.
        frozen_layers: Keep the embeddings and so many of the lowest layers as they are, and train
            the rest; -1 keeps the whole body and trains the head alone.
        adapter: Keep all weights as they are, and train adapters: `{class_path:
            roots.networks.LoRA, init_args: {rank: 8, alpha: 16}}`. Checkpoints hold the adapters
            alone; `roots export --merge` adds them to the weights.
        quantise: Beside an adapter: hold the linear layers in few bits, by bitsandbytes:
            `roots.networks.NF4` (QLoRA) or `roots.networks.Int8`.
        attention: The attention implementation: `sdpa`, `eager`, `flash_attention_2`, ..., or
            `tiled`, roots' own for compiled layers on a CPU; `auto` measures, before the first step
            of a run, which is fastest for its shapes, and says what it took.
        revision: Branch, tag or commit on the hub; a commit makes the run repeatable.
        trust_remote_code: Run the Python code that a hub repository brings. Only for authors that
            you trust with your machine.

    Raises:
        ConfigError: `frozen_layers` beside an adapter, `quantise` without one, or no such
            attention.
        DataError: Nothing that can be read lies at `path`.
    """

    def __init__(
        self,
        *,
        path: str,
        config: dict[str, Any] | None = None,
        frozen_layers: int = 0,
        adapter: LoRA | None = None,
        quantise: Quantisation | None = None,
        attention: str = "auto",
        revision: str = "main",
        trust_remote_code: bool = False,
    ) -> None:
        if adapter and frozen_layers:
            raise ConfigError(
                f"frozen_layers={frozen_layers} beside an adapter, which keeps all layers as they"
                " are. Leave out network.frozen_layers, or network.adapter."
            )
        if quantise and not adapter:
            raise ConfigError(
                f"quantise: {type(quantise).__name__} without an adapter leaves little to train:"
                " weights of few bits have no gradient. Add network.adapter (roots.networks.LoRA),"
                " or leave out network.quantise."
            )
        check_attention_name(attention)
        self.path = path
        self.config = dict(config or {})
        self.frozen_layers = frozen_layers
        self.adapter = adapter
        self.quantise = quantise
        self.attention = attention
        self.revision = revision
        self.trust_remote_code = trust_remote_code
        self.drawn: frozenset[str] = frozenset()
        """The parameters of the latest `build` that no file had."""
        self._base: BaseWeights | None = None
        self._untied: frozenset[str] | None = None

    def network_config(
        self, vocabulary: Vocabulary | None, head: Head = CAUSAL_LM
    ) -> PretrainedConfig:
        """Gives the network's configuration, checked against the data's vocabulary and the head."""
        config = read_config(
            self.path,
            self.config,
            head,
            revision=self.revision,
            trust_remote_code=self.trust_remote_code,
            few_bits=self.quantise is not None,
        )
        check_vocabulary(config, vocabulary)
        return config

    def build(
        self,
        vocabulary: Vocabulary | None,
        *,
        seed: int,
        device: torch.device,
        head: Head = CAUSAL_LM,
    ) -> PreTrainedModel:
        """Loads the network with its weights, in float32; a head that is new is drawn.

        Raises:
            DataError: The weights are missing, pickled or damaged.
            ConfigError: The folder lacks weights that the network needs or has others, or the
                network looks ahead.
        """
        config = self.network_config(vocabulary, head)
        folder = network_folder(self.path)
        earlier = adapter_base(folder)  # of a run that trained an adapter
        if earlier and self.adapter:
            raise ConfigError(
                f"{folder} holds an adapter, and another one does not lie on it. Add it to the"
                " weights first (roots export --merge), and set network.path to those."
            )
        with torch.random.fork_rng(devices=[]), quiet_transformers():
            torch.manual_seed(seed)
            revision = adapter_revision(folder) if earlier else self.revision
            network, report = self._load(earlier or folder, revision, config, head, device)
            if earlier:
                check_base(folder)
                network = merge_adapter(network, folder)
                report["missing_keys"] = set(report["missing_keys"]) - whole_in(folder)
            tell_padding(network, vocabulary, head)
            self.remarks = ()
            self._look_at(report, network, head)
            if self.quantise:
                keep_as_they_are(network)
                self.remarks += (self.quantise.remark(network),)
            if self.adapter:
                drawn = self._drawn(report)
                told = self.adapter.put_on(network, head=head, drawn=drawn, base=self.base)
                self.remarks += (told,)
        check_attention(network, self.attention, head)
        if self.frozen_layers:
            self.remarks += (freeze(network, self.frozen_layers),)
        network = network if self.quantise else network.to(device)
        tolerance = self.quantise.causal_tolerance if self.quantise else 1e-5
        return check_causal(network, tolerance) if head.is_causal else network

    @property
    def base(self) -> BaseWeights | None:
        """The weights that checkpoints leave out, where an adapter is trained."""
        if self._base is None and self.adapter:
            self._base = BaseWeights.of(self.path, self.revision)  # reads all the files
        return self._base

    def empty(self, config: PretrainedConfig, head: Head) -> PreTrainedModel:
        """Makes the network without memory for its weights: with adapters, and what is frozen."""
        network = super().empty(config, head)
        folder = Path(network_folder(self.path))
        if folder.is_dir():
            untie(network, self._untied_in(folder, network))
        if self.frozen_layers:
            freeze(network, self.frozen_layers)
        if self.adapter:
            self.adapter.put_on(network, head=head, drawn=())
        return network

    def other_tokens(self, tokenizer: Tokenizer) -> list[str]:
        """Remarks that the weights were trained on other tokens; of a folder with a tokenizer."""
        folder = Path(network_folder(self.path))
        there = (folder / "tokenizer.json").is_file()
        unlike = other_tokens(Tokenizer.load(folder), tokenizer) if there else ""
        return [f"network: trained on other tokens than the data have: {unlike}"] if unlike else []

    def _load(
        self, name: str, revision: str, config: PretrainedConfig, head: Head, device: torch.device
    ) -> tuple[PreTrainedModel, dict[str, Any]]:
        few_bits = self.quantise.arguments(head.empty(config), device) if self.quantise else {}
        try:
            network, report = head.auto.from_pretrained(
                name,
                config=config,
                revision=revision,
                trust_remote_code=self.trust_remote_code,
                attn_implementation=implementation(self.attention),
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                output_loading_info=True,
                **few_bits,
            )
        except (OSError, ValueError, ImportError, SafetensorError) as error:
            raise unreadable(self.path, error) from error
        return network, report

    def _drawn(self, report: dict[str, Any]) -> set[str]:
        """Names the parameters that no file has."""
        return {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}

    def skeleton(self, vocabulary: Vocabulary | None, *, head: Head = CAUSAL_LM) -> PreTrainedModel:
        """Builds the network on the meta device, without weights."""
        config = self.network_config(vocabulary, head)
        try:
            network = head.empty(
                config,
                trust_remote_code=self.trust_remote_code,
                attn_implementation=implementation(self.attention),
                dtype=torch.float32,
            )
            untie(network, self._untied_in(self._folder(), network))
        except (OSError, ValueError, ImportError) as error:
            raise unreadable(self.path, error) from error
        tell_padding(network, vocabulary, head)
        check_attention(network, self.attention, head)
        self.remarks = (freeze(network, self.frozen_layers),) if self.frozen_layers else ()
        return network

    def fill(
        self, vocabulary: Vocabulary | None, give: Give, *, seed: int, head: Head = CAUSAL_LM
    ) -> None:
        """Reads the weights one by one, or the network whole where its files have other names."""
        try:
            folder = self._folder()
            read = read_one_by_one(self.skeleton(vocabulary, head=head), folder, give)
        except (OSError, ValueError, SafetensorError) as error:
            raise unreadable(self.path, error) from error
        if not read:
            whole = self.build(vocabulary, head=head, seed=seed, device=torch.device("cpu"))
            for name, tensor in named_tensors(whole):
                give(name, tensor)

    def _untied_in(self, folder: Path, network: PreTrainedModel) -> frozenset[str]:
        """Names what the files untie, found once: it reads both weights."""
        if self._untied is None:
            try:
                self._untied = untied_in(folder, network)
            except (OSError, ValueError, SafetensorError) as error:
                raise unreadable(self.path, error) from error
        return self._untied

    def _folder(self) -> Path:
        path = network_folder(self.path)
        return Path(path) if Path(path).is_dir() else fetched(path, self.revision)

    def _look_at(self, report: dict[str, Any], network: PreTrainedModel, head: Head) -> None:
        """Refuses a body with random or misshapen weights; remarks what of the head is new."""
        kind, body = type(network).__name__, network.base_model_prefix + "."
        drawn = self._drawn(report)
        self.drawn = frozenset(drawn)
        may_be_drawn = {
            name for name in drawn if not name.startswith(body) or name.startswith(body + "pooler.")
        }
        if head.is_new and drawn <= may_be_drawn:
            if drawn:
                self.remarks = (f"network: drawn at random, to be trained: {_few(drawn)}",)
            return
        if report["missing_keys"]:
            raise ConfigError(
                f"{self.path} has no weights for {len(report['missing_keys'])} parameters of"
                f" {kind}, for instance {_few(report['missing_keys'])}: they would be random."
                f" Use a checkpoint of a {head.kind}."
            )
        if report["mismatched_keys"]:
            name, found, expected = sorted(report["mismatched_keys"])[0]
            raise ConfigError(
                f"{self.path} has weights of another shape for {len(report['mismatched_keys'])}"
                f" parameters of {kind}, for instance {name}: {tuple(found)} where config.json asks"
                f" for {tuple(expected)}. Bring the config.json that belongs to these weights."
            )


def _few(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:4])
