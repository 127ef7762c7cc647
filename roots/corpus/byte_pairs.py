"""BytePairs: a byte-level BPE like GPT-2's, trained on the documents of the train split."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from roots.errors import ConfigError
from roots.tokenizer import Tokenizer, TokenizerPlan

END_OF_TEXT = "<|endoftext|>"
_BYTES = 256


class BytePairs(TokenizerPlan):
    """Trains a byte-level BPE: every text can be encoded, and decodes to itself.

    Its first special token is `<|endoftext|>`, which is eos, bos and pad.

    Args:
        vocab_size: Tokens in all: special tokens, 256 bytes and merges. A small text gives fewer.
        min_frequency: How often a pair must stand in the text to be merged.
        extra_tokens: Further special tokens, such as `<mask>` or `<extra_id_0>`. A token with
            `mask` in its name is made the mask token, one with `pad` the one that fills rows up.

    Raises:
        ConfigError: `vocab_size` has no room for the bytes and special tokens.
    """

    def __init__(
        self,
        *,
        vocab_size: int = 4096,
        min_frequency: int = 2,
        extra_tokens: tuple[str, ...] = (),
    ) -> None:
        needed = _BYTES + 1 + len(extra_tokens)
        if vocab_size < needed:
            raise ConfigError(
                f"vocab_size={vocab_size:,} has no room for the {_BYTES} bytes and"
                f" {1 + len(extra_tokens)} special tokens. Set vocab_size to at least {needed:,}."
            )
        self.vocab_size = vocab_size
        self.min_frequency = min_frequency
        self.extra_tokens = extra_tokens

    def make(self, texts: Iterable[str]) -> Tokenizer:
        """Trains on `texts`; the same texts give the same tokenizer."""
        rust = _untrained()
        rust.train_from_iterator(iter(texts), trainer=self._trainer())
        roles = dict.fromkeys(("eos_token", "bos_token", "pad_token"), END_OF_TEXT)
        for role in ("mask", "pad"):
            named = [token for token in self.extra_tokens if role in token.lower()]
            if named:
                roles[f"{role}_token"] = named[0]
        return Tokenizer(definition=rust.to_str(), settings=roles)

    def planned_vocab_size(self) -> int:
        """Tells `vocab_size`."""
        return self.vocab_size

    def _trainer(self) -> trainers.BpeTrainer:
        return trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            min_frequency=self.min_frequency,
            special_tokens=[END_OF_TEXT, *self.extra_tokens],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )


def _untrained() -> RustTokenizer:
    rust = RustTokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    return rust
