"""What a module needs from whoever makes its network."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from transformers import PretrainedConfig, PreTrainedModel

from roots.errors import ConfigError
from roots.networks.base_weights import BaseWeights
from roots.networks.drawing import Give
from roots.networks.head import CAUSAL_LM, Head
from roots.networks.lora import LoRA
from roots.networks.quantising import Quantisation
from roots.records import Vocabulary
from roots.tokenizer import Tokenizer


class NetworkBuilder(ABC):
    """The settings of a network; the network itself is built when a strategy is ready for it.

    A subclass has an `attention`: transformers' name of it, or `auto`.
    """

    attention: str
    adapter: LoRA | None = None
    """What is trained in place of the weights."""
    quantise: Quantisation | None = None
    """How the weights are held meanwhile."""
    remarks: tuple[str, ...] = ()
    """What the latest `build` decided, in words."""

    @property
    def base(self) -> BaseWeights | None:
        """The weights that checkpoints leave out, where only a part is trained and saved."""
        return None

    def other_tokens(self, tokenizer: Tokenizer) -> list[str]:  # noqa: ARG002
        """Remarks that the weights were trained on other tokens than those of a tokenizer."""
        return []

    def empty(self, config: PretrainedConfig, head: Head) -> PreTrainedModel:
        """Makes the network on the meta device, without memory for its weights."""
        return head.empty(config)

    @abstractmethod
    def network_config(
        self, vocabulary: Vocabulary | None, head: Head = CAUSAL_LM
    ) -> PretrainedConfig:
        """Gives the network's configuration, filled in from the data's vocabulary and the head."""

    @abstractmethod
    def build(
        self,
        vocabulary: Vocabulary | None,
        *,
        seed: int,
        device: torch.device,
        head: Head = CAUSAL_LM,
    ) -> PreTrainedModel:
        """Builds the network with its weights, in float32.

        Args:
            vocabulary: The data's tokens; None takes the network's own.
            seed: Decides the random weights; the global random state is left as it was.
            device: Where the weights live.
            head: What is on top of the body.
        """

    def skeleton(
        self,
        vocabulary: Vocabulary | None,  # noqa: ARG002
        *,
        head: Head = CAUSAL_LM,  # noqa: ARG002
    ) -> PreTrainedModel:
        """Builds the network on the meta device, without weights.

        Raises:
            ConfigError: This kind of network is only built whole.
        """
        raise self._only_whole()

    def fill(
        self,
        vocabulary: Vocabulary | None,  # noqa: ARG002
        give: Give,  # noqa: ARG002
        *,
        seed: int,  # noqa: ARG002
        head: Head = CAUSAL_LM,  # noqa: ARG002
    ) -> None:
        """Hands over the weights and buffers of `build`, one tensor at a time.

        Args:
            vocabulary: As in `build`.
            give: Takes each, whole, on the host, in float32, under its name in the network; of
                tied weights, one name is enough.
            seed: As in `build`.
            head: As in `build`.

        Raises:
            ConfigError: This kind of network is only built whole.
        """
        raise self._only_whole()

    def _only_whole(self) -> ConfigError:
        return ConfigError(
            f"{type(self).__name__} builds its network whole, and a sharded one is cut before it"
            " has weights. Set trainer.strategy to ddp."
        )

    def check_seq_len(self, config: PretrainedConfig, seq_len: int) -> None:
        """Raises ConfigError when the network has fewer positions than `seq_len`."""
        limit = n_positions(config)
        if limit is None or seq_len <= limit:
            return
        first, key = first_position(config), _key_of_positions(config)
        shorter = f"Set data.seq_len to at most {limit:,}, or give" if limit > 0 else "Give"
        behind = f", counted from {first:,}, behind the padding token's number" if first else ""
        raise ConfigError(
            f"seq_len={seq_len:,} is longer than the {max(limit, 0):,} positions that this network"
            f" has ({key}{behind}). {shorter} a network built from a config {key}:"
            f" {seq_len + first}."
        )


def text_part(config: PretrainedConfig, head: Head) -> PretrainedConfig:
    """Gives the part of a configuration that its network is built from.

    Of those that read images and texts (Llama 4, Qwen3.5) it is the one for texts.

    Raises:
        ConfigError: transformers builds the whole, or nothing but a whole is described.
    """
    if "text_config" not in config.sub_configs:
        return config
    part = config.get_text_config()
    if getattr(head.network_class(config), "config_class", None) is type(part):
        return part
    raise ConfigError(
        f"A {config.model_type} reads more than texts, and transformers builds the whole of it as a"
        f" {head.kind}. Take a network of model_type {part.model_type}, which its part for texts"
        " is."
    )


def n_positions(config: PretrainedConfig) -> int | None:
    """Gives how many positions a network has; None where nothing limits them (-1 of XLNet)."""
    limit = getattr(config, _key_of_positions(config), None)
    return None if limit is None or limit < 0 else int(limit) - first_position(config)


def first_position(config: PretrainedConfig) -> int:
    """Gives the number of the first position: RoBERTa and its kin count from behind padding's."""
    if config.model_type not in _POSITIONS_BEHIND_PADDING:
        return 0
    padding_id = 1 if config.model_type == "mpnet" else config.pad_token_id or 0
    return int(padding_id) + 1


def _key_of_positions(config: PretrainedConfig) -> str:
    return "max_seq_len" if config.model_type == "mpt" else "max_position_embeddings"


_POSITIONS_BEHIND_PADDING = (
    *("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod", "camembert"),
    *("data2vec-text", "ibert", "longformer", "mpnet", "esm", "luke"),
    *("layoutlmv3", "lilt", "markuplm"),
)


def special_ids(
    vocabulary: Vocabulary, head: Head = CAUSAL_LM, family: type[PretrainedConfig] | None = None
) -> dict[str, int | None]:
    """Gives the special tokens as keys of a network's configuration.

    Some architectures (ModernBERT) have keys for the tokens around a text as well, with defaults
    beyond a small vocabulary.

    A causal language model has no padding token: rows are filled up behind their last label, where
    causal attention cannot see, and with one given transformers looks for it in every batch, on
    the host. Those that count positions from behind its number keep it. A decoder starts with the
    token that begins a text (mBART's with the one that ends it, which it turns to the front of its
    labels), and nothing is forced on it.
    """
    counts = family is not None and family.model_type in _POSITIONS_BEHIND_PADDING
    ids = {
        "eos_token_id": vocabulary.eos_id,
        "bos_token_id": vocabulary.bos_id,
        "pad_token_id": None if head.is_causal and not counts else vocabulary.pad_id,
    }
    if counts and ids["pad_token_id"] is None:
        del ids["pad_token_id"]  # its own stays
    around = {"cls_token_id": vocabulary.bos_id, "sep_token_id": vocabulary.eos_id}
    known = vars(family()) if family is not None else {}
    ids |= {key: id_ for key, id_ in around.items() if key in known}
    turns = family is not None and family.model_type in _TURNING_THE_END
    start = vocabulary.eos_id if turns else vocabulary.bos_id
    decodes = {"decoder_start_token_id": start, "forced_eos_token_id": None}
    return {**ids, **decodes} if head.decodes else ids


_TURNING_THE_END = ("mbart", "plbart")


def tell_padding(network: PreTrainedModel, vocabulary: Vocabulary | None, head: Head) -> None:
    """Tells a classifier which token fills rows up, whatever its files say.

    transformers takes what a decoder says of a text from its last token that does not fill up, by
    `pad_token_id`. Where positions begin behind that number, the first token tells, and it stays.
    """
    if vocabulary is None or vocabulary.pad_id is None or head.kind != "sequence classifier":
        return
    if network.config.model_type not in _POSITIONS_BEHIND_PADDING:
        network.config.pad_token_id = vocabulary.pad_id


def implementation(attention: str) -> str | None:
    """Translates `auto` into transformers' word for it."""
    return None if attention == "auto" else attention
