"""BytePairs: a byte-level BPE like GPT-2's, trained on the documents of the train split."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from roots.errors import ConfigError, nearest
from roots.tokenizer import Tokenizer, TokenizerPlan

END_OF_TEXT = "<|endoftext|>"
_BYTES = 256
_SPECIAL = {"gpt2": (END_OF_TEXT,), "roberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>")}
_ROLES = {
    "gpt2": dict.fromkeys(("eos_token", "bos_token", "pad_token"), END_OF_TEXT),
    "roberta": {
        "bos_token": "<s>",
        "cls_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    },
}


class BytePairs(TokenizerPlan):
    """Trains a byte-level BPE: every text can be encoded, and decodes to itself.

    Args:
        vocab_size: Tokens in all: special tokens, 256 bytes and merges. A small text gives fewer.
        min_frequency: How often a pair must stand in the text to be merged.
        extra_tokens: Further special tokens, such as `<mask>` or `<extra_id_0>`. A token with
            `mask` in its name is made the mask token, where there is none; one with `pad`, beside
            `gpt2`, the one that fills rows up.
        special_tokens: `gpt2`, for causal models: `<|endoftext|>`, which is eos, bos and pad. Or
            `roberta`, for masked ones: `<s>`, `<pad>`, `</s>`, `<unk>` and `<mask>`, with the ids
            0 to 4; a text is framed as `<s> a </s>`, a pair as `<s> a </s></s> b </s>`.

    Raises:
        ConfigError: `vocab_size` has no room for the bytes and special tokens, or `special_tokens`
            names none.
    """

    def __init__(
        self,
        *,
        vocab_size: int = 4096,
        min_frequency: int = 2,
        extra_tokens: tuple[str, ...] = (),
        special_tokens: Literal["gpt2", "roberta"] = "gpt2",
    ) -> None:
        if special_tokens not in _SPECIAL:
            raise ConfigError(
                f"There are no special_tokens {special_tokens!r}"
                f"{nearest(special_tokens, _SPECIAL)}. Set special_tokens to one of"
                f" {', '.join(_SPECIAL)}."
            )
        n_special = len(_SPECIAL[special_tokens]) + len(extra_tokens)
        needed = _BYTES + n_special
        if vocab_size < needed:
            raise ConfigError(
                f"vocab_size={vocab_size:,} has no room for the {_BYTES} bytes and"
                f" {n_special} special tokens. Set vocab_size to at least {needed:,}."
            )
        self.vocab_size = vocab_size
        self.min_frequency = min_frequency
        self.extra_tokens = extra_tokens
        self.special_tokens = special_tokens

    def make(self, texts: Iterable[str]) -> Tokenizer:
        """Trains on `texts`; the same texts give the same tokenizer."""
        rust = _untrained()
        rust.train_from_iterator(iter(texts), trainer=self._trainer())
        roles = dict(_ROLES[self.special_tokens])
        masks = [token for token in self.extra_tokens if "mask" in token.lower()]
        fillers = [token for token in self.extra_tokens if "pad" in token.lower()]
        if masks:
            roles.setdefault("mask_token", masks[0])
        if fillers and self.special_tokens == "gpt2":
            roles["pad_token"] = fillers[0]
        if self.special_tokens == "roberta":
            rust.post_processor = processors.TemplateProcessing(
                single="<s> $A </s>",
                pair="<s> $A </s> </s> $B </s>",
                special_tokens=[(t, rust.token_to_id(t)) for t in ("<s>", "</s>")],
            )
        return Tokenizer(definition=rust.to_str(), settings=roles)

    def recipe(self) -> dict[str, Any]:
        """Writes down what decides which tokenizer comes out."""
        recipe = super().recipe()
        if self.special_tokens == "gpt2":  # as before there was a choice, so that folders stay
            del recipe["init_args"]["special_tokens"]
        return recipe

    def planned_vocab_size(self) -> int:
        """Tells `vocab_size`."""
        return self.vocab_size

    def _trainer(self) -> trainers.BpeTrainer:
        return trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            min_frequency=self.min_frequency,
            special_tokens=[*_SPECIAL[self.special_tokens], *self.extra_tokens],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )


def _untrained() -> RustTokenizer:
    rust = RustTokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    return rust
