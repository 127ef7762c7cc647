"""Texts and pairs of texts with the special tokens around them that a network was trained with.

Which tokens those are, the tokenizer's own definition says (its post-processor): `[CLS] a [SEP] b
[SEP]` for a BERT, `<s> a </s></s> b </s>` for a RoBERTa, nothing for a GPT-2. The texts themselves
stay literal: a written `[SEP]` is text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer as RustTokenizer

from roots.errors import DataError
from roots.tokenizer.tokenizer import Tokenizer

_TRIED = (["a", "a"], ["the", "cat"], ["x", "y"], ["1", "2"])


@dataclass(frozen=True, slots=True)
class Framed:
    """One text, or a pair, as a network reads it.

    Args:
        ids: The tokens, special ones included.
        type_ids: 0 for the first text and 1 for the second, as the tokenizer says.
        sequence_ids: Which text a token is of, 0 or 1; None for a special token.
        offsets: Which characters of its text each token stands for, from and to.
        word_ids: Which word of its text each token belongs to; None for a special token.
        was_cut: Whether tokens were left out, since they were too many.
    """

    ids: list[int]
    type_ids: list[int]
    sequence_ids: list[int | None]
    offsets: list[tuple[int, int]]
    word_ids: list[int | None]
    was_cut: bool


class Framing:
    """Frames texts for a network, cut to a length.

    Args:
        tokenizer: Its definition is taken over and not changed.
        max_tokens: Tokens of a row at most, special ones included.
        cut: Which text loses tokens where they are too many: `longest_first`, `only_first`,
            `only_second`.
        stride: Where the text that is cut becomes several rows: how many tokens neighbours share;
            -1 leaves out what is too much.

    Raises:
        DataError: The special tokens alone are more than `max_tokens`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_tokens: int,
        cut: str = "longest_first",
        stride: int = -1,
    ) -> None:
        rust = RustTokenizer.from_str(tokenizer.definition)
        rust.encode_special_tokens = True
        rust.no_padding()
        rust.no_truncation()
        self._space = _space_of_words(rust)
        n_special = rust.num_special_tokens_to_add(is_pair=True)
        if max_tokens <= n_special + max(stride, 0):
            raise DataError(
                f"A row of {max_tokens} tokens has no room for a text: {n_special} of them are"
                f" special, and neighbours share {max(stride, 0)}. Set data.seq_len higher."
            )
        rust.enable_truncation(max_tokens, stride=max(stride, 0), strategy=cut)
        self._rust = rust
        self._windows = stride >= 0
        self.parts_pairs = n_special > rust.num_special_tokens_to_add(is_pair=False)
        """Whether a token stands where the second text of a pair begins."""

    def frame(self, texts: Sequence[str | tuple[str, str]]) -> list[Framed]:
        """Frames each text or pair as one row."""
        return [_framed(e) for e in self._rust.encode_batch(list(texts))]

    def ids(self, texts: Sequence[str]) -> list[tuple[list[int], bool]]:
        """Gives the tokens of each text alone, and whether some were left out."""
        encoded = self._rust.encode_batch_fast(list(texts))
        return [(each.ids, bool(each.overflowing)) for each in encoded]

    def frame_words(self, sentences: Sequence[Sequence[str]]) -> list[Framed]:
        """Frames sentences that are divided into words; `word_ids` count those words.

        Each is read as if one space stood before every word but the first: where the space is a
        part of the word's token, as in GPT-2's byte-level kind, words are given one.
        """
        spaced = [[*words[:1], *(self._space + word for word in words[1:])] for words in sentences]
        encoded = self._rust.encode_batch(spaced, is_pretokenized=True)
        return [_framed(e) for e in encoded]

    def windows(self, texts: Sequence[str | tuple[str, str]]) -> list[list[Framed]]:
        """Frames each text or pair as as many rows as it needs; neighbours share tokens."""
        assert self._windows
        encoded = self._rust.encode_batch(list(texts))
        return [[_framed(e), *(_framed(more) for more in e.overflowing)] for e in encoded]


def _space_of_words(rust: RustTokenizer) -> str:
    """Gives what must stand before a word that is encoded alone, to be read as behind a space.

    Nothing, where no token holds the space (BERT) or a rule adds it to every word (T5); a space
    where a word alone would be read as the continuation of the one before it (GPT-2, Gemma).
    What a tokenizer does is tried: several of its parts may do it.
    """
    for space in ("", " "):
        for words in _TRIED:
            spaced = [words[0], *(space + word for word in words[1:])]
            alone = rust.encode(spaced, is_pretokenized=True, add_special_tokens=False)
            if alone.ids == rust.encode(" ".join(words), add_special_tokens=False).ids:
                return space
    return ""


class EndedFraming:
    """Frames texts so that each ends with the token that ends a text, as a target must.

    Where the tokenizer's own frame does not end so (a byte-level BPE has none), the token is added.

    Args:
        tokenizer: Its definition is taken over and not changed.
        max_tokens: Tokens of a row at most, special ones included.

    Raises:
        DataError: The special tokens alone are more than `max_tokens`.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int) -> None:
        ((empty, _),) = Framing(tokenizer, max_tokens=max_tokens).ids([""])
        ends = empty[-1:] == [tokenizer.eos_id]
        self._end = [] if ends else [tokenizer.eos_id]
        self._framing = Framing(tokenizer, max_tokens=max_tokens - len(self._end))

    def ids(self, texts: Sequence[str]) -> list[tuple[list[int], bool]]:
        """Gives the tokens of each text, and whether some were left out."""
        return [(ids + self._end, was_cut) for ids, was_cut in self._framing.ids(texts)]


def _framed(encoding: Any) -> Framed:
    return Framed(
        ids=encoding.ids,
        type_ids=encoding.type_ids,
        sequence_ids=encoding.sequence_ids,
        offsets=encoding.offsets,
        word_ids=encoding.word_ids,
        was_cut=bool(encoding.overflowing),
    )
