"""Masker: the corruption of rows of one tokenizer, ready for the side that makes batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64

from roots.errors import ConfigError
from roots.objectives.chinese_words import ChineseWords
from roots.objectives.corruption import Corrupted, Key, corrupt
from roots.objectives.masking import Masking
from roots.objectives.words import MarkedWords
from roots.tokenizer import Tokenizer


class Masker:
    """Hides tokens of rows as `Masking` says.

    Args:
        masking: The settings.
        tokenizer: The one that the rows were encoded with: it knows the mask token, the special
            ones, and where words begin.

    Raises:
        ConfigError: The tokenizer has no mask token, or does not mark where words begin.
        MissingExtra: jieba is asked for and not installed.
    """

    def __init__(self, masking: Masking, tokenizer: Tokenizer) -> None:
        self.masking = masking
        self.mask_id = _mask_id(tokenizer)
        self._special = np.zeros(tokenizer.vocab_size, dtype=bool)
        self._special[sorted(tokenizer.special_ids | {self.mask_id})] = True
        written = tokenizer.byte_lengths() > 0  # ids that no token has are not drawn either
        self._replacements = np.flatnonzero(~self._special & written)
        self._words = _words(masking, tokenizer)

    def __call__(
        self,
        input_ids: Int64[np.ndarray, "B T"],
        keys: Sequence[Key],
        *,
        padding: Bool[np.ndarray, "B T"] | None = None,
    ) -> Corrupted:
        """Hides tokens of each row.

        Args:
            input_ids: The tokens.
            keys: The key of each row.
            padding: What fills rows up, where that is no special token.
        """
        untouched = self._special[input_ids]
        if padding is not None:
            untouched |= padding
        starts = np.ones_like(untouched) if self._words is None else self._words.starts(input_ids)
        return corrupt(
            input_ids,
            untouched,
            starts,
            masking=self.masking,
            mask_id=self.mask_id,
            replacements=self._replacements,
            keys=keys,
        )


def _mask_id(tokenizer: Tokenizer) -> int:
    if tokenizer.mask_id is None:
        raise ConfigError(
            f"The tokenizer of {tokenizer.vocab_size:,} ids has no mask token (mask_token is"
            f" {tokenizer.settings.get('mask_token')!r}), and a masked language model needs one."
            " Train the tokenizer with extra_tokens: [<mask>], or use one that has a mask token,"
            " such as BERT's."
        )
    return tokenizer.mask_id


def _words(masking: Masking, tokenizer: Tokenizer) -> MarkedWords | ChineseWords | None:
    if masking.unit == "token":
        return None
    return ChineseWords(tokenizer) if masking.words == "jieba" else MarkedWords(tokenizer)
