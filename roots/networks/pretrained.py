"""Networks with published or earlier weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from roots.errors import ConfigError, DataError
from roots.networks.builder import (
    NetworkBuilder,
    check_attention,
    check_causal,
    check_vocabulary,
    implementation,
)
from roots.networks.drawing import Give, named_tensors
from roots.networks.reading import read_one_by_one
from roots.records import Vocabulary


class Pretrained(NetworkBuilder):
    """A causal language model with the weights of a folder or of a name on the Hugging Face hub.

    Args:
        path: A folder with config.json and *.safetensors, or a name on the hub. Weights in other
            formats are not read: they are pickled, and unpickling runs code.
        attention: The attention implementation: `sdpa`, `eager`, `flash_attention_2`, ..., or
            `tiled`, roots' own for compiled layers on a CPU; `auto` measures, before the first step
            of a run, which is fastest for its shapes, and says what it took.
        revision: Branch, tag or commit on the hub; a commit makes the run repeatable.
        trust_remote_code: Run the Python code that a hub repository brings. Only for authors that
            you trust with your machine.

    Raises:
        DataError: Nothing that can be read lies at `path`.
    """

    def __init__(
        self,
        *,
        path: str,
        attention: str = "auto",
        revision: str = "main",
        trust_remote_code: bool = False,
    ) -> None:
        self.path = path
        self.attention = attention
        self.revision = revision
        self.trust_remote_code = trust_remote_code

    def network_config(self, vocabulary: Vocabulary | None) -> PretrainedConfig:
        """Gives the network's configuration, checked against the data's vocabulary."""
        self._check_folder()
        try:
            config = AutoConfig.from_pretrained(
                self.path, revision=self.revision, trust_remote_code=self.trust_remote_code
            )
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        check_vocabulary(config, vocabulary)
        return config

    def build(
        self,
        vocabulary: Vocabulary | None,
        *,
        seed: int,  # noqa: ARG002 - nothing is drawn
        device: torch.device,
    ) -> PreTrainedModel:
        """Loads the network with its weights, in float32.

        Raises:
            DataError: The weights are missing, pickled or damaged.
            ConfigError: The folder lacks weights that the network needs or has others, or the
                network looks ahead.
        """
        config = self.network_config(vocabulary)
        try:
            network, report = AutoModelForCausalLM.from_pretrained(
                self.path,
                config=config,
                revision=self.revision,
                trust_remote_code=self.trust_remote_code,
                attn_implementation=implementation(self.attention),
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                output_loading_info=True,
            )
        except (OSError, ValueError, SafetensorError) as error:
            raise self._unreadable(error) from error
        self._refuse_random_weights(type(network).__name__, report)
        check_attention(network, self.attention)
        return check_causal(network.to(device))

    def skeleton(self, vocabulary: Vocabulary | None) -> PreTrainedModel:
        """Builds the network on the meta device, without weights."""
        config = self.network_config(vocabulary)
        try:
            with torch.device("meta"):
                network = AutoModelForCausalLM.from_config(
                    config,
                    trust_remote_code=self.trust_remote_code,
                    attn_implementation=implementation(self.attention),
                    dtype=torch.float32,
                )
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        check_attention(network, self.attention)
        return network

    def fill(self, vocabulary: Vocabulary | None, give: Give, *, seed: int) -> None:
        """Reads the weights one by one, or the network whole where its files have other names."""
        try:
            folder = self._folder()
            read = read_one_by_one(self.skeleton(vocabulary), folder, give)
        except (OSError, ValueError, SafetensorError) as error:
            raise self._unreadable(error) from error
        if not read:
            whole = self.build(vocabulary, seed=seed, device=torch.device("cpu"))
            for name, tensor in named_tensors(whole):
                give(name, tensor)

    def _folder(self) -> Path:
        if Path(self.path).is_dir():
            return Path(self.path)
        patterns = ["*.safetensors", "*.json"]
        return Path(snapshot_download(self.path, revision=self.revision, allow_patterns=patterns))

    def _refuse_random_weights(self, kind: str, report: dict[str, Any]) -> None:
        if report["missing_keys"]:
            some = ", ".join(sorted(report["missing_keys"])[:4])
            raise ConfigError(
                f"{self.path} has no weights for {len(report['missing_keys'])} parameters of"
                f" {kind}, for instance {some}: they would be random."
                " Use a checkpoint of a causal language model."
            )
        if report["mismatched_keys"]:
            name, found, expected = sorted(report["mismatched_keys"])[0]
            raise ConfigError(
                f"{self.path} has weights of another shape for {len(report['mismatched_keys'])}"
                f" parameters of {kind}, for instance {name}: {tuple(found)} where config.json asks"
                f" for {tuple(expected)}. Bring the config.json that belongs to these weights."
            )

    def _check_folder(self) -> None:
        folder = Path(self.path)
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise DataError(
                f"{folder} has no config.json. Give a Hugging Face folder, such as one that"
                " `roots export` wrote."
            )
        looks_local = self.path.startswith((".", "/", "~")) or self.path.count("/") > 1
        if looks_local and not folder.is_dir():
            raise DataError(f"There is no folder {folder}. Correct network.path.")

    def _unreadable(self, error: Exception) -> DataError:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        return DataError(
            f"Cannot load a network from {self.path}: {first_line}"
            " Check the path or hub name (network.path) and that it holds *.safetensors."
        )
