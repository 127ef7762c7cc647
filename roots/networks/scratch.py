"""Networks with random weights."""

from __future__ import annotations

from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from roots.errors import ConfigError, nearest
from roots.networks.builder import NetworkBuilder, implementation, special_ids
from roots.networks.checks import (
    check_attention,
    check_attention_name,
    check_causal,
    check_keys,
    check_vocabulary,
)
from roots.networks.drawing import (
    Give,
    draw_by_blocks,
    forget_initialized,
    make_room,
    named_tensors,
    take_from_constructor,
    undrawn,
)
from roots.networks.head import CAUSAL_LM, Head
from roots.records import Vocabulary


class Scratch(NetworkBuilder):
    """A network of any `transformers` architecture, with random weights.

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
        ConfigError: No `model_type`, one that transformers does not know, a key that this
            architecture does not have, or no such attention.
    """

    def __init__(self, *, config: dict[str, Any], attention: str = "auto") -> None:
        self.config = dict(config)
        self.attention = attention
        self._check()

    def network_config(
        self, vocabulary: Vocabulary | None, head: Head = CAUSAL_LM
    ) -> PretrainedConfig:
        """Gives the network's configuration, filled in from the data's vocabulary and the head.

        Raises:
            ConfigError: Values that this architecture refuses, no such head, or fewer embeddings
                than tokens.
        """
        family = CONFIG_MAPPING[self.config["model_type"]]
        head.check(family)
        keys = {k: v for k, v in self.config.items() if k != "model_type"} | dict(head.config)
        if vocabulary is not None:
            ids = special_ids(vocabulary, head, family)
            keys = {"vocab_size": vocabulary.size, **ids, **keys}
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
        self,
        vocabulary: Vocabulary | None,
        *,
        seed: int,
        device: torch.device,
        head: Head = CAUSAL_LM,
    ) -> PreTrainedModel:
        """Builds the network and draws its weights, in float32.

        Raises:
            ConfigError: The architecture lacks this attention, a package for it is missing, or it
                looks ahead.
        """
        network = self.skeleton(vocabulary, head=head)
        network = draw_weights(network, seed=seed, device=device)
        return check_causal(network) if head.is_causal else network

    def skeleton(self, vocabulary: Vocabulary | None, *, head: Head = CAUSAL_LM) -> PreTrainedModel:
        """Builds the network on the meta device, without weights."""
        config = self.network_config(vocabulary, head)
        try:
            network = head.empty(
                config, attn_implementation=implementation(self.attention), dtype=torch.float32
            )
        except (ValueError, ImportError) as error:
            raise ConfigError(
                f"{type(config).__name__} cannot be built with attention={self.attention}:"
                f" {error} Set network.attention to auto."
            ) from error
        check_attention(network, self.attention, head)
        return network

    def fill(
        self, vocabulary: Vocabulary | None, give: Give, *, seed: int, head: Head = CAUSAL_LM
    ) -> None:
        """Draws the weights, block by block where the network lets that be done."""
        if draw_by_blocks(self.skeleton(vocabulary, head=head), seed=seed, give=give):
            return
        skeleton = self.skeleton(vocabulary, head=head)
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
        if "text_config" in family.sub_configs:
            raise ConfigError(
                f"model_type {model_type} reads more than texts: its vocabulary would be that of"
                " its text_config, which the data do not fill in. Set network.config.model_type to"
                f" {getattr(family.sub_configs['text_config'], 'model_type', 'llama')}."
            )
        check_keys(self.config, family)
        check_attention_name(self.attention)


@torch.no_grad()
def draw_weights(network: PreTrainedModel, *, seed: int, device: torch.device) -> PreTrainedModel:
    """Gives a network on the meta device real weights, by its own initialisation.

    Args:
        network: Built under `torch.device("meta")`.
        seed: The same seed gives the same weights on every device, since they are drawn on the
            host; the global random state is left as it was.
        device: Where the weights go.

    Raises:
        ConfigError: Neither its initialisation nor its constructor gives a weight values.
    """
    make_room(network)
    forget_initialized(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.initialize_weights()
    network.tie_weights()
    if left := undrawn(network):
        take_from_constructor(network, left, seed=seed)
    return network.to(device)
