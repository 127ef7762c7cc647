"""Networks with random weights."""

from __future__ import annotations

from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from roots.errors import ConfigError, nearest
from roots.networks.builder import (
    NetworkBuilder,
    check_attention,
    check_causal,
    check_vocabulary,
    implementation,
    special_ids,
)
from roots.networks.drawing import Give, draw_by_blocks, forget_initialized, named_tensors
from roots.records import Vocabulary


class Scratch(NetworkBuilder):
    """A causal language model of any `transformers` architecture, with random weights.

    It is made on the meta device and then filled by the network's own initialisation, so that a
    network larger than one device can be sharded before it has weights.

    Args:
        config: Keys of the architecture's own configuration, `model_type` first of all
            (`{model_type: llama, hidden_size: 256, ...}`). Without `vocab_size`, the vocabulary of
            the data is taken.
        attention: The attention implementation: `sdpa`, `eager`, `flash_attention_2`, ..., or
            `tiled`, roots' own for compiled layers on a CPU; `auto` measures, before the first step
            of a run, which is fastest for its shapes, and says what it took.

    Raises:
        ConfigError: No `model_type`, one that transformers does not know or that is no causal
            language model, or a key that this architecture does not have.
    """

    def __init__(self, *, config: dict[str, Any], attention: str = "auto") -> None:
        self.config = dict(config)
        self.attention = attention
        self._check()

    def network_config(self, vocabulary: Vocabulary | None) -> PretrainedConfig:
        """Gives the network's configuration, filled in from the data's vocabulary.

        Raises:
            ConfigError: Values that this architecture refuses, or fewer embeddings than tokens.
        """
        keys = {k: v for k, v in self.config.items() if k != "model_type"}
        if vocabulary is not None:
            keys = {"vocab_size": vocabulary.size, **special_ids(vocabulary), **keys}
        try:
            config = AutoConfig.for_model(self.config["model_type"], **keys)
        except (StrictDataclassError, ValueError, TypeError) as error:
            raise ConfigError(
                f"transformers refuses network.config: {' '.join(str(error).split())}"
                " Correct the value there."
            ) from error
        check_vocabulary(config, vocabulary)
        return config

    def build(
        self, vocabulary: Vocabulary | None, *, seed: int, device: torch.device
    ) -> PreTrainedModel:
        """Builds the network and draws its weights, in float32.

        Raises:
            ConfigError: The architecture lacks this attention, a package for it is missing, or it
                looks ahead.
        """
        skeleton = self.skeleton(vocabulary)
        return check_causal(draw_weights(skeleton, seed=seed, device=device))

    def skeleton(self, vocabulary: Vocabulary | None) -> PreTrainedModel:
        """Builds the network on the meta device, without weights."""
        config = self.network_config(vocabulary)
        try:
            with torch.device("meta"):
                network = AutoModelForCausalLM.from_config(
                    config, attn_implementation=implementation(self.attention), dtype=torch.float32
                )
        except (ValueError, ImportError) as error:
            raise ConfigError(
                f"{type(config).__name__} cannot be built with attention={self.attention}:"
                f" {error} Set network.attention to auto."
            ) from error
        check_attention(network, self.attention)
        return network

    def fill(self, vocabulary: Vocabulary | None, give: Give, *, seed: int) -> None:
        """Draws the weights, block by block where the network lets that be done."""
        if draw_by_blocks(self.skeleton(vocabulary), seed=seed, give=give):
            return
        skeleton = self.skeleton(vocabulary)
        whole = draw_weights(skeleton, seed=seed, device=torch.device("cpu"))
        for name, tensor in named_tensors(whole):
            give(name, tensor)

    def _check(self) -> None:
        model_type = self.config.get("model_type")
        if model_type is None:
            raise ConfigError(
                "network.config names no architecture. Add model_type: llama (or gpt2, qwen3, …)."
            )
        if model_type not in CONFIG_MAPPING:
            raise ConfigError(
                f"transformers knows no model_type {model_type!r}"
                f"{nearest(model_type, CONFIG_MAPPING.keys())}."
                " Correct network.config.model_type: llama, gpt2 and qwen3 are three that it knows."
            )
        family = CONFIG_MAPPING[model_type]
        if family not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise ConfigError(
                f"model_type {model_type!r} is no causal language model in transformers."
                " Take one that is, such as llama, gpt2 or qwen3."
            )
        known = {key for key in vars(family()) if not key.startswith("_")}
        known |= set(family.attribute_map)
        if "rope_parameters" in known:  # transformers still reads the two that it made one of
            known |= {"rope_theta", "rope_scaling"}
        for key in self.config:
            if key not in known and key != "model_type":
                raise ConfigError(
                    f"{key!r} is no key of {family.__name__}{nearest(key, known)}."
                    f" Correct network.config.{key} or leave it out."
                )


@torch.no_grad()
def draw_weights(network: PreTrainedModel, *, seed: int, device: torch.device) -> PreTrainedModel:
    """Gives a network on the meta device real weights, by its own initialisation.

    Args:
        network: Built under `torch.device("meta")`.
        seed: The same seed gives the same weights on every device, since they are drawn on the
            host; the global random state is left as it was.
        device: Where the weights go.
    """
    network.to_empty(device="cpu")
    forget_initialized(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.initialize_weights()
    network.tie_weights()
    return network.to(device)
