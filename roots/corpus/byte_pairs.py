"""BytePairs: a byte-level BPE like GPT-2's, trained on the documents of the train split."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from roots.corpus.special_tokens import check_frequency, frame_texts, roles_of, special_tokens_of
from roots.tokenizer import Tokenizer, TokenizerPlan


class BytePairs(TokenizerPlan):
    """Trains a byte-level BPE: every text can be encoded, and decodes to itself.

    Args:
        vocab_size: Tokens in all: special tokens, 256 bytes and merges. A small text gives fewer,
            and so does an extra token that is a word of the text: no merge may build it.
        min_frequency: How often a pair must stand in the text to be merged.
        extra_tokens: Further special tokens, such as `<mask>` or `<extra_id_0>`. A token with
            `mask` in its name is made the mask token, where there is none; one with `pad`, beside
            `gpt2`, the one that fills rows up.
        special_tokens: `gpt2`, for causal models: `<|endoftext|>`, which is eos, bos and pad. Or
            `roberta`, for masked ones: `<s>`, `<pad>`, `</s>`, `<unk>` and `<mask>`, with the ids
            0 to 4; a text is framed as `<s> a </s>`, a pair as `<s> a </s></s> b </s>`.

    Raises:
        ConfigError: `vocab_size` has no room for the bytes and special tokens, `special_tokens`
            names none, or an extra token is empty or the sign of a byte.
    """

    def __init__(
        self,
        *,
        vocab_size: int = 4096,
        min_frequency: int = 2,
        extra_tokens: tuple[str, ...] = (),
        special_tokens: Literal["gpt2", "roberta"] = "gpt2",
    ) -> None:
        check_frequency(min_frequency)
        self._special = special_tokens_of(special_tokens, extra_tokens, vocab_size)
        self.vocab_size = vocab_size
        self.min_frequency = min_frequency
        self.extra_tokens = extra_tokens
        self.special_tokens = special_tokens

    def make(self, texts: Iterable[str]) -> Tokenizer:
        """Trains on `texts`; the same texts give the same tokenizer."""
        rust = _untrained()
        rust.train_from_iterator(iter(texts), trainer=self._trainer())
        rust = _building_none(rust, self._special)
        frame_texts(rust, self.special_tokens)
        roles = roles_of(self.special_tokens, self.extra_tokens)
        return Tokenizer(definition=rust.to_str(), settings=roles)

    def recipe(self) -> dict[str, Any]:
        """Writes down what decides which tokenizer comes out."""
        recipe = super().recipe()
        if self.special_tokens == "gpt2":  # as before there was a choice, so that folders stay
            del recipe["init_args"]["special_tokens"]
        splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
        if any(len(splitter.pre_tokenize_str(token)) == 1 for token in self.extra_tokens):
            recipe["version"] = 2  # a merge could build such a token in version 1
        return recipe

    def planned_vocab_size(self) -> int:
        """Tells `vocab_size`."""
        return self.vocab_size

    def _trainer(self) -> trainers.BpeTrainer:
        return trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            min_frequency=self.min_frequency,
            special_tokens=self._special,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )


def _building_none(rust: RustTokenizer, special: Sequence[str]) -> RustTokenizer:
    """Takes out merges that build a special token, and what is built on it.

    One name has one id, so that a plain `###` would become the special token of that name.
    """
    definition = json.loads(rust.to_str())
    model = definition["model"]
    built, merges = set(pre_tokenizers.ByteLevel.alphabet()), []
    for pair in model["merges"]:
        if (token := "".join(pair)) not in special and built.issuperset(pair):
            merges.append(pair)
            built.add(token)
    if len(merges) == len(model["merges"]):
        return rust
    left = built.union(special)
    ids = model["vocab"]
    tokens = [token for token in sorted(ids, key=lambda token: ids[token]) if token in left]
    model |= {"merges": merges, "vocab": {token: id_ for id_, token in enumerate(tokens)}}
    return RustTokenizer.from_str(json.dumps(definition))


def _untrained() -> RustTokenizer:
    rust = RustTokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    return rust
