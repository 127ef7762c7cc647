"""Unigram: a byte-level unigram model, trained on the documents of the train split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as RustTokenizer

from roots.corpus.special_tokens import check_frequency, frame_texts, roles_of, special_tokens_of
from roots.corpus.unigram_fit import fit_unigram
from roots.errors import DataError
from roots.tokenizer import Tokenizer, TokenizerPlan
from roots.tokenizer.token_bytes import BYTE_OF

_NEVER = -1e6
"""The score of a special token: a text that is written like it is rather cut into bytes."""
_MOST_WORDS = 2**19
_MOST_CHARACTERS = 128
_SIGNS = sorted(BYTE_OF, key=BYTE_OF.__getitem__)


class Unigram(TokenizerPlan):
    """Trains a unigram model: of all ways to cut a text, its tokens are the most probable one.

    It works on bytes, like `BytePairs`, so that every text can be encoded and decodes to itself.
    SentencePiece's way (characters, `▁` for a space, `<0x41>` for a byte) does not promise that: a
    text may hold these very signs. No piece cuts a character; the single bytes do where a character
    is no piece.

    Args:
        vocab_size: Tokens in all: special tokens, 256 bytes and pieces. A small text gives fewer.
        min_frequency: How often a piece must stand in the text.
        extra_tokens: Further special tokens, such as `<mask>` or `<extra_id_0>`. A token with
            `mask` in its name is made the mask token, where there is none; one with `pad`, beside
            `gpt2`, the one that fills rows up.
        special_tokens: `gpt2`, for causal models, or `roberta`, for masked ones: the tokens and
            frames are those of `BytePairs`.

    Raises:
        ConfigError: `vocab_size` has no room for the bytes and special tokens, `special_tokens`
            names none, or an extra token is empty or the sign of a byte.

    Source:
        Kudo, arXiv:1804.10959, section 3.2; see `roots.corpus.unigram_fit`. Encoding takes the best
        way to cut, without sampling.
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
        """Trains on `texts`; the same texts, in any order, give the same tokenizer.

        Of very large texts the 524,288 most frequent words count, and of each word 128 characters.
        Counting takes about a second per MB of text, fitting 8,192 tokens half a minute and 0.7 GB
        for 140,000 words, and in proportion more for more.

        Raises:
            DataError: The texts are empty.
        """
        found = fit_unigram(
            _counted(texts),
            n_pieces=self.vocab_size - len(self._special),
            min_frequency=self.min_frequency,
        )
        special = set(self._special)
        written = (("".join(_SIGNS[byte] for byte in raw), score) for raw, score in found)
        pieces = [(piece, score) for piece, score in written if piece not in special]
        rust = RustTokenizer(models.Unigram([*((t, _NEVER) for t in self._special), *pieces]))
        rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        rust.decoder = decoders.ByteLevel()
        rust.add_special_tokens(
            [AddedToken(token, special=True, normalized=False) for token in self._special]
        )
        frame_texts(rust, self.special_tokens)
        roles = roles_of(self.special_tokens, self.extra_tokens)
        return Tokenizer(definition=rust.to_str(), settings=roles)

    def planned_vocab_size(self) -> int:
        """Tells `vocab_size`."""
        return self.vocab_size


def _counted(texts: Iterable[str]) -> dict[str, int]:
    """Counts the words, as GPT-2 splits a text into them."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    spelled: Counter[str] = Counter()
    for text in texts:
        spelled.update(word for word, _ in splitter.pre_tokenize_str(text))
    if not spelled:
        raise DataError("The texts are empty. Give at least one character for training.")
    bytes_of = {ord(sign): byte for sign, byte in BYTE_OF.items()}
    words: Counter[str] = Counter()
    for word in sorted(spelled, key=lambda word: (-spelled[word], word))[:_MOST_WORDS]:
        text = word.translate(bytes_of).encode("latin-1").decode()
        words[text[:_MOST_CHARACTERS]] += spelled[word]
    return words
